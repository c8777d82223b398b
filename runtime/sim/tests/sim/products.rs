//! Our own linear layer and attention, on every instruction set that the machine has.

use bytec_runtime::Isa;
use bytec_sim::Checks;

#[path = "../../examples/rate/case.rs"]
mod case;

use case::Case;

#[test]
fn every_instruction_set_and_check_gives_the_same_bits() {
    for make in [Case::linear, Case::attention] {
        let run = |isa, checks| {
            let mut case = make(&[17, 70]).expect("the fixtures are right");
            case.device.isa = isa;
            case.device.checks = checks;
            if checks == Checks::ALL {
                case.mark_last().expect("the rows are there");
            }
            let profile = case.launch().unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!(profile.extra_wavefronts, 0, "no bank conflicts");
            (profile, case.output().expect("all was written"))
        };
        let expected = run(Isa::best(), Checks::NONE);
        for isa in Isa::available() {
            for checks in [Checks::NONE, Checks::ALL] {
                assert!(run(isa, checks) == expected, "{} {checks:?}", isa.name());
            }
        }
    }
}

//! Outputs that can't be written, and arguments that don't go together.

use super::{Around, COMPILE, RUN, Row};

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::new("a plan in a folder that isn't there", "compile model -o nowhere/new.plan").fails(
            2,
            ["can't write nowhere/new.plan", "expected a folder nowhere", "found nothing"],
        ),
        Row::new("a plan below a file", "compile model -o good.plan/new.plan")
            .fails(2, ["can't write good.plan/new.plan"]),
        Row::new("a plan in place of a folder", "compile model -o out")
            .fails(2, ["can't write out: is a directory"]),
        Row::new(
            "a plan in place of the model's weights",
            "compile model -o model/model.safetensors",
        )
        .fails(2, ["-o model/model.safetensors", "one that is read"]),
        Row::new(
            "a plan in place of its source",
            "compile model/model.safetensors -o model/../model/model.safetensors",
        )
        .fails(2, ["-o model/../model/model.safetensors", "one that is read"]),
        Row::new("a plan on a full disk", "compile model -o /dev/full")
            .fails(3, ["can't write /dev/full: No space left on device"]),
        Row::new("a plan past the limit on files", COMPILE)
            .around(Around::SmallFiles)
            .fails(3, ["can't write out/new.plan: File too large"]),
        Row::new("a plan named -", "compile model -o -").fails(2, ["--output", "/dev/stdout"]),
        Row::new("int8 for a GPU", "compile model -o out/new.plan --target sm_80:int8")
            .fails(2, ["--target", "sm_80:int8", "for cpu int8"]),
        Row::new("int8 for a model too narrow", "compile model -o out/new.plan --target cpu:int8")
            .fails(2, ["cpu:int8", "stay f32", "24 inputs and 40 outputs are few"]),
        Row::new("texts for no int8", format!("{COMPILE} --text-file in.safetensors"))
            .fails(2, ["--text-file", "--target cpu:int8"]),
        Row::new(
            "texts that aren't there",
            "compile model -o out/new.plan --target cpu:int8 --text-file nothing.txt",
        )
        .fails(2, ["can't read nothing.txt"]),
        Row::new("no texts", "compile model -o out/new.plan --target cpu:int8 --text-file empty")
            .broken(|scene| scene.write("empty", ""))
            .fails(2, ["empty: expected a text a line, found nothing"]),
        Row::new(
            "a plan in place of its texts",
            "compile model -o texts --target cpu:int8 --text-file texts",
        )
        .broken(|scene| scene.write("texts", "a text"))
        .fails(2, ["-o texts", "one that is read"]),
        Row::new(
            "texts for a model without a tokenizer",
            "compile model -o out/new.plan --target cpu:int8 --text-file -",
        )
        .around(Around::Input(b"a text"))
        .broken(|scene| scene.remove("model/tokenizer.json"))
        .fails(2, ["--text-file", "tokenizer.json", "input_ids"]),
        Row::new("no plan named", "compile model").fails(2, ["--output <FILE>"]),
        Row::new("stages below a file", format!("{COMPILE} --emit good.plan"))
            .fails(2, ["can't make the folder good.plan"]),
        Row::new("a report on a full disk", "inspect good.plan --json")
            .around(Around::FullDisk)
            .fails(3, ["can't write the output: No space left on device"]),
        Row::new(
            "outputs on a full disk",
            "run good.plan --inputs in.safetensors -o /dev/../dev/full",
        )
        .fails(3, ["can't write /dev/../dev/full: No space left on device"]),
        Row::new(
            "outputs in a folder that isn't there",
            "run good.plan --inputs in.safetensors -o a/b/c",
        )
        .fails(2, ["can't write a/b/c", "expected a folder a/b"]),
        Row::new(
            "outputs past the limit on files",
            "run good.plan --inputs in.safetensors -o out/new.safetensors",
        )
        .broken(|scene| {
            let elements = [2; 32];
            let keys: Vec<_> = (0..8).map(|i| format!("{i}.input_ids")).collect();
            let samples: Vec<_> =
                keys.iter().map(|key| (key.as_str(), "I64", &[32][..], &elements[..])).collect();
            scene.write("in.safetensors", super::scene::tensors(&samples));
        })
        .around(Around::SmallFiles)
        .fails(3, ["can't write out/new.safetensors: File too large"]),
        Row::new(
            "outputs in place of the plan",
            "run good.plan --inputs in.safetensors -o good.plan",
        )
        .fails(2, ["-o good.plan", "one that is read"]),
        Row::new(
            "outputs in place of the inputs",
            "run good.plan --inputs in.safetensors -o in.safetensors",
        )
        .fails(2, ["-o in.safetensors", "one that is read"]),
        Row::new("no outputs named", "run good.plan --inputs in.safetensors")
            .fails(2, ["--output"]),
        Row::new("outputs of texts named", "run good.plan --text a -o out/new.safetensors")
            .fails(2, ["--inputs"]),
        Row::new("texts and tensors", format!("{RUN} --text a"))
            .fails(2, ["--text <TEXT>", "--inputs"]),
        Row::new("a text file and tensors", format!("{RUN} --text-file a"))
            .fails(2, ["--text-file", "--inputs"]),
        Row::new("--no-truncate and tensors", format!("{RUN} --no-truncate"))
            .fails(2, ["--no-truncate", "--inputs"]),
        Row::new("nothing to run", "run good.plan")
            .fails(2, ["--text <TEXT>|--text-file <FILE>|--pair <A> <B>|--inputs <FILE>"]),
        Row::new("nothing to verify", "verify good.plan")
            .fails(2, ["bytec verify <--text <TEXT>|"]),
        Row::new(
            "a reference that holds inputs",
            "verify good.plan --inputs in.safetensors --reference in.safetensors",
        )
        .fails(2, ["in.safetensors: ", "expected outputs of the plan", "found input_ids"]),
        Row::new("an unknown device", "run good.plan --text a --device tpu")
            .fails(2, ["--device", "tpu", "cpu, cuda, sim"]),
        Row::new("a device that is too old", format!("{COMPILE} --target sm_70:f16"))
            .fails(2, ["--target", "\"sm_70:f16\"", "expected cpu"]),
        Row::new("a target that is none", format!("{COMPILE} --target cpu,toaster"))
            .fails(2, ["--target", "\"toaster\""]),
        Row::new("a type that a device lacks", format!("{COMPILE} --target cpu:f64"))
            .fails(2, ["--target", "\"cpu:f64\"", "expected cpu"]),
        Row::new("a target twice", format!("{COMPILE} --target cpu,cpu:f32"))
            .fails(2, ["--target", "found cpu twice"]),
        Row::new("no threads to compile", format!("{COMPILE} --threads 0"))
            .fails(2, ["--threads", "'0'", "1..="]),
        Row::new("too many threads", format!("{RUN} --threads 1000000000"))
            .fails(2, ["--threads", "'1000000000'"]),
        Row::new("a negative number of threads", format!("{RUN} --threads=-1"))
            .fails(2, ["--threads", "'-1'"]),
        Row::new("nothing to list", "list").fails(2, ["<WHAT>"]),
        Row::new("a list that isn't", "list ducks")
            .fails(2, ["ducks", "ops, rules, kernels, models"]),
        Row::new("an unknown command", "optimise good.plan").fails(2, ["optimise"]),
        Row::new("an unknown option", format!("{COMPILE} --fast")).fails(2, ["--fast"]),
    ]
}

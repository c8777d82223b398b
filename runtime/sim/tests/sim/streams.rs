//! Streams, events and graphs of the simulated device.

use bytec_runtime::cuda::{Call, Driver, Function, Graph, KernelCode, Pointer, Stream};
use bytec_sim::SimDriver;

use crate::driver::kernel;

/// A device with the kernel that doubles, and two buffers of eight numbers: 0, 1, 2 and so on, and their count.
struct Doubling {
    driver: SimDriver,
    stream: Stream,
    function: Function,
    numbers: Pointer,
    rows: Pointer,
}

impl Doubling {
    fn new() -> Doubling {
        let driver = SimDriver::sm_80();
        let stream = driver.open_stream().expect("it takes all of this");
        let ptx = kernel(0, true);
        let code =
            KernelCode { symbol: "kernel", cubin: None, ptx: Some(ptx.as_bytes()), shared: 0 };
        let function = driver.load(&code).expect("it takes all of this");
        let numbers = driver.allocate("numbers", 32).expect("it takes all of this");
        let rows = driver.allocate("rows", 4).expect("it takes all of this");
        let bytes: Vec<u8> = (0..8).flat_map(|x| (x as f32).to_le_bytes()).collect();
        driver.upload(stream, numbers, &bytes).expect("it takes all of this");
        driver.upload(stream, rows, &2i32.to_le_bytes()).expect("it takes all of this");
        Doubling { driver, stream, function, numbers, rows }
    }

    /// Doubles the numbers where they are.
    fn launch(&self) -> Result<(), String> {
        self.launch_as(false)
    }

    /// As `launch`; it may overlap with the launch before it.
    fn launch_as(&self, overlaps: bool) -> Result<(), String> {
        let args = [self.numbers.0, self.numbers.0, self.rows.0];
        let (function, grid) = (self.function, [1, 1, 1]);
        let (block, shared) = (32, 0);
        let call = Call { function, name: "double", grid, block, shared, overlaps, args: &args };
        self.driver.launch(self.stream, &call).map_err(|error| error.to_string())
    }

    /// What number 1 has become.
    fn factor(&self) -> f32 {
        let mut bytes = [0; 32];
        self.driver.download(self.stream, self.numbers, &mut bytes).expect("it takes all of this");
        f32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])
    }
}

#[test]
fn a_graph_does_what_was_captured_each_time_it_is_replayed() {
    let doubling = Doubling::new();
    let Doubling { driver, stream, .. } = &doubling;
    driver.begin_capture(*stream).unwrap();
    doubling.launch().unwrap();
    doubling.launch().unwrap();
    // Another stream is not captured.
    let other = driver.open_stream().unwrap();
    assert_ne!(other, *stream);
    driver.synchronise(other).unwrap();
    // Nothing but launches until the capture ends.
    let refused = [
        driver.synchronise(*stream),
        driver.upload(*stream, doubling.rows, &[0; 4]),
        driver.download(*stream, doubling.rows, &mut [0; 4]),
        driver.begin_capture(*stream),
    ];
    for refused in refused {
        let text = refused.unwrap_err().to_string();
        assert!(text.ends_with("the stream is being captured"), "{text}");
    }
    let graph = driver.end_capture(*stream).unwrap();
    assert_eq!(doubling.factor(), 1.0, "nothing was done yet");
    let mut before = 0;
    for expected in [4.0, 16.0] {
        driver.replay(*stream, graph, &mut || before += 1).unwrap();
        assert_eq!(doubling.factor(), expected);
    }
    assert_eq!(before, 4);
    driver.close_graph(graph);
    let gone = driver.replay(*stream, graph, &mut || ()).unwrap_err();
    assert_eq!(gone.to_string(), "can't replay a graph: there is no such graph");
}

#[test]
fn what_overlaps_in_a_capture_does_so_in_its_replays() {
    let doubling = Doubling::new();
    let Doubling { driver, stream, .. } = &doubling;
    let graph = |second| {
        driver.begin_capture(*stream).unwrap();
        doubling.launch().unwrap();
        doubling.launch_as(second).unwrap();
        driver.end_capture(*stream).unwrap()
    };
    driver.replay(*stream, graph(false), &mut || ()).unwrap();
    let overlapping = graph(true);
    // The kernel does not wait for what the first has doubled.
    let error = driver.replay(*stream, overlapping, &mut || ()).unwrap_err().to_string();
    assert!(error.contains("read of memory that a launch before this one writes"), "{error}");
    assert_eq!(doubling.factor(), 8.0);
}

#[test]
fn what_is_not_open_is_refused() {
    let doubling = Doubling::new();
    let Doubling { driver, stream, .. } = &doubling;
    let error = driver.end_capture(*stream).unwrap_err().to_string();
    assert_eq!(error, "can't capture a stream: the stream is not being captured");
    let error = driver.replay(*stream, Graph(77), &mut || ()).unwrap_err().to_string();
    assert_eq!(error, "can't replay a graph: there is no such graph");
    driver.close_stream(*stream);
    let error = doubling.launch().unwrap_err();
    assert_eq!(error, "can't run step `double`: the stream is not open");
    assert!(driver.synchronise(*stream).is_err());
    assert!(driver.begin_capture(*stream).is_err());
}

#[test]
fn events_tell_the_time_between_them() {
    let doubling = Doubling::new();
    let Doubling { driver, stream, .. } = &doubling;
    let [before, after] = [(); 2].map(|()| driver.open_event().unwrap());
    let error = driver.elapsed(before, after).unwrap_err().to_string();
    assert_eq!(error, "can't tell the time between two events: an event was not recorded");
    driver.record(*stream, before).unwrap();
    doubling.launch().unwrap();
    driver.record(*stream, after).unwrap();
    driver.wait(after).unwrap();
    driver.elapsed(before, after).unwrap();
    let error = driver.elapsed(after, before).unwrap_err().to_string();
    assert_eq!(error, "can't tell the time between two events: the second came before the first");
    driver.close_event(before);
    assert!(driver.record(*stream, before).is_err() && driver.elapsed(before, after).is_err());
}

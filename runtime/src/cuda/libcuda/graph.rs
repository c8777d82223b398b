//! Graphs: launches captured from a stream.

use std::ptr;

use cudarc::driver::sys::{self, CUgraph, CUgraphExec, CUstream, CUstreamCaptureMode};

use super::context::{refused, said};
use crate::cuda::driver::{DriverError, Graph};

/// Begins to capture. Other threads may go on with whatever they do, allocations included.
pub(super) fn begin(stream: CUstream) -> Result<(), DriverError> {
    let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    // SAFETY: the stream is open.
    said("capture a stream", unsafe { sys::cuStreamBeginCapture_v2(stream, mode) })
}

/// Ends the capture and makes the graph ready to replay.
pub(super) fn end(stream: CUstream) -> Result<Graph, DriverError> {
    let mut graph: CUgraph = ptr::null_mut();
    // SAFETY: the stream is open; writes one handle.
    let ended = said("capture a stream", unsafe { sys::cuStreamEndCapture(stream, &mut graph) });
    if graph.is_null() {
        // A capture that went wrong leaves no graph.
        return Err(ended
            .err()
            .unwrap_or_else(|| refused("capture a stream".to_owned(), "there is no graph")));
    }
    let mut ready: CUgraphExec = ptr::null_mut();
    let made = ended.and_then(|()| {
        // SAFETY: the graph was made above; writes one handle.
        let answer = unsafe { sys::cuGraphInstantiateWithFlags(&mut ready, graph, 0) };
        said("make a graph ready", answer)
    });
    // SAFETY: the graph was made above and is destroyed once; what is ready to replay does not need it.
    let _gone = unsafe { sys::cuGraphDestroy(graph) };
    made.map(|()| Graph(ready as u64))
}

/// Does the graph's launches on a stream.
pub(super) fn replay(graph: Graph, stream: CUstream) -> Result<(), DriverError> {
    // SAFETY: the graph came from `end`, the stream is open; that the kernels stay within the memory which the captured
    // arguments point at is the plan's promise, as it is for a launch.
    said("replay a graph", unsafe { sys::cuGraphLaunch(graph.0 as CUgraphExec, stream) })
}

/// Gives a graph back.
pub(super) fn close(graph: Graph) {
    // SAFETY: the graph came from `end` and is closed once.
    let _gone = unsafe { sys::cuGraphExecDestroy(graph.0 as CUgraphExec) };
}

//! Streams, events and graphs of the simulated device.
//!
//! All work is done at once, so a stream only has to know whether it is being captured, and an event when it was
//! recorded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytec_runtime::cuda::{Call, Event, Function, Graph, Stream};

/// What is open.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// Handed out so far; a number is never used again.
    numbers: u64,
    /// For each stream the launches captured so far, if it is being captured.
    streams: BTreeMap<Stream, Option<Vec<Launched>>>,
    /// For each event that was recorded the number and the time of that.
    events: BTreeMap<Event, Option<(u64, Instant)>>,
    graphs: BTreeMap<Graph, Arc<[Launched]>>,
}

/// A captured launch.
#[derive(Clone, Debug)]
pub(crate) struct Launched {
    function: Function,
    name: String,
    grid: [u32; 3],
    block: u32,
    shared: u32,
    overlaps: bool,
    args: Vec<u64>,
}

impl Launched {
    fn new(call: &Call<'_>) -> Launched {
        let &Call { function, name, grid, block, shared, overlaps, args } = call;
        let (name, args) = (name.to_owned(), args.to_vec());
        Launched { function, name, grid, block, shared, overlaps, args }
    }

    /// The launch, to be done now.
    pub(crate) fn call(&self) -> Call<'_> {
        let &Launched { function, ref name, grid, block, shared, overlaps, ref args } = self;
        Call { function, name, grid, block, shared, overlaps, args }
    }
}

impl Streams {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn open_stream(&mut self) -> Stream {
        let stream = Stream(self.number());
        self.streams.insert(stream, None);
        stream
    }

    pub(crate) fn close_stream(&mut self, stream: Stream) {
        self.streams.remove(&stream);
    }

    /// Keeps a launch for a graph if the stream is being captured, and says whether it was kept.
    pub(crate) fn capture(
        &mut self,
        stream: Stream,
        call: &Call<'_>,
    ) -> Result<bool, &'static str> {
        match self.streams.get_mut(&stream) {
            Some(Some(captured)) => {
                captured.push(Launched::new(call));
                Ok(true)
            }
            Some(None) => Ok(false),
            None => Err("the stream is not open"),
        }
    }

    /// Refuses work other than launches on a stream that is being captured.
    pub(crate) fn check(&self, stream: Stream) -> Result<(), &'static str> {
        match self.streams.get(&stream) {
            Some(None) => Ok(()),
            Some(Some(_)) => Err("the stream is being captured"),
            None => Err("the stream is not open"),
        }
    }

    pub(crate) fn begin_capture(&mut self, stream: Stream) -> Result<(), &'static str> {
        self.check(stream)?;
        self.streams.insert(stream, Some(Vec::new()));
        Ok(())
    }

    pub(crate) fn end_capture(&mut self, stream: Stream) -> Result<Graph, &'static str> {
        let captured = self.streams.get_mut(&stream).ok_or("the stream is not open")?;
        let captured = captured.take().ok_or("the stream is not being captured")?;
        let graph = Graph(self.number());
        self.graphs.insert(graph, captured.into());
        Ok(graph)
    }

    pub(crate) fn graph(&self, graph: Graph) -> Result<Arc<[Launched]>, &'static str> {
        self.graphs.get(&graph).cloned().ok_or("there is no such graph")
    }

    pub(crate) fn close_graph(&mut self, graph: Graph) {
        self.graphs.remove(&graph);
    }

    pub(crate) fn open_event(&mut self) -> Event {
        let event = Event(self.number());
        self.events.insert(event, None);
        event
    }

    pub(crate) fn close_event(&mut self, event: Event) {
        self.events.remove(&event);
    }

    pub(crate) fn record(&mut self, stream: Stream, event: Event) -> Result<(), &'static str> {
        self.check(stream)?;
        let now = (self.number(), Instant::now());
        *self.events.get_mut(&event).ok_or("there is no such event")? = Some(now);
        Ok(())
    }

    pub(crate) fn wait(&self, event: Event) -> Result<(), &'static str> {
        self.events.get(&event).map(|_| ()).ok_or("there is no such event")
    }

    pub(crate) fn elapsed(&self, from: Event, to: Event) -> Result<Duration, &'static str> {
        let recorded = |event| match self.events.get(&event) {
            Some(recorded) => recorded.ok_or("an event was not recorded"),
            None => Err("there is no such event"),
        };
        let ((first, begun), (second, ended)) = (recorded(from)?, recorded(to)?);
        if second < first {
            return Err("the second came before the first");
        }
        Ok(ended.saturating_duration_since(begun))
    }
}

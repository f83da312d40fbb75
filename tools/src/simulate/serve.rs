//! Serves a stream on a board in virtual time.

use std::collections::VecDeque;

use coshift_plant::Board;
use coshift_plant::board::{Level, Network};
use coshift_plant::machine::{Event, Knob, Machine, Phase, Work};

use super::manager::{ClockManager, Seen};
use super::run::{Ending, Record, Run};
use super::{Request, SimulateError, Stream};

/// Requests that may wait besides the one that runs; the oldest is dropped when another comes. As
/// in the agent.
pub const MAX_WAITING: usize = 4;

/// Serves a stream: in order, one request after the other.
///
/// `choose` says which sub-network serves a request, when it starts. `factors` multiply the
/// latencies of the requests, beside the stream's slowdown. Requests that wait or run at the end of
/// the stream are served to their end.
///
/// # Errors
/// [`SimulateError`] where the stream is not in order, there is not one factor for each request, or
/// a sub-network is chosen that the network does not have.
pub fn serve(
    board: &Board,
    network: &Network,
    stream: &Stream,
    clocks: &mut dyn ClockManager,
    choose: &mut dyn FnMut(&Request) -> usize,
    factors: &[f64],
) -> Result<Run, SimulateError> {
    stream.check()?;
    if factors.len() != stream.requests.len() {
        let requests = stream.requests.len();
        return Err(SimulateError::Factors { requests, factors: factors.len() });
    }
    let mut server = Server {
        machine: Machine::new(board, clocks.first()),
        network,
        stream,
        factors,
        released: 0,
        waiting: VecDeque::new(),
        running: None,
        endings: vec![None; stream.requests.len()],
    };
    loop {
        let now_us = server.machine.now_us();
        server.release(now_us);
        server.start(choose)?;
        server.look(clocks);
        let next = [clocks.next_us(), server.next_release_us(), Some(stream.end_us)];
        // What was due before now has been looked at.
        let next = next.into_iter().flatten().filter(|at| *at > now_us).min();
        let idle = server.running.is_none() && server.waiting.is_empty();
        if now_us >= stream.end_us && idle {
            return Ok(server.done());
        }
        // Completions come before releases of the same µs, as in the agent.
        while let Some(event) = server.machine.advance(next.unwrap_or(u64::MAX)) {
            if server.happened(event) {
                break;
            }
            server.look(clocks);
        }
    }
}

struct Server<'a> {
    machine: Machine,
    network: &'a Network,
    stream: &'a Stream,
    factors: &'a [f64],
    /// Requests released so far.
    released: usize,
    /// Indices of requests.
    waiting: VecDeque<usize>,
    /// The request that runs.
    running: Option<Started>,
    /// By request.
    endings: Vec<Option<Ending>>,
}

#[derive(Clone, Copy)]
struct Started {
    index: usize,
    start_us: u64,
    sub_network: usize,
    clocks: Level,
}

impl Server<'_> {
    fn next_release_us(&self) -> Option<u64> {
        self.stream.requests.get(self.released).map(|request| request.release_us)
    }

    fn release(&mut self, now_us: u64) {
        while self.next_release_us().is_some_and(|at| at <= now_us) {
            if self.waiting.len() == MAX_WAITING
                && let Some(oldest) = self.waiting.pop_front()
            {
                self.endings[oldest] = Some(Ending::Dropped { at_us: now_us });
            }
            self.waiting.push_back(self.released);
            self.released += 1;
        }
    }

    fn start(&mut self, choose: &mut dyn FnMut(&Request) -> usize) -> Result<(), SimulateError> {
        if self.running.is_some() {
            return Ok(());
        }
        let Some(index) = self.waiting.pop_front() else { return Ok(()) };
        let start_us = self.machine.now_us();
        let chosen = choose(&self.stream.requests[index]);
        let sub_networks = &self.network.sub_networks;
        let sub = sub_networks.get(chosen).ok_or_else(|| SimulateError::SubNetwork {
            network: self.network.name.clone(),
            chosen,
            count: sub_networks.len(),
        })?;
        let slowdown = f64::from(self.stream.slowdown_at(start_us)) / 1000.0;
        let work = Work {
            latency: sub.latency,
            activity: self.network.activity,
            factor: slowdown * self.factors[index],
        };
        if self.machine.start(work).is_ok() {
            let clocks = self.machine.clocks();
            self.running = Some(Started { index, start_us, sub_network: chosen, clocks });
        }
        Ok(())
    }

    /// Shows the manager the board and asks for the clocks that it wants.
    fn look(&mut self, clocks: &mut dyn ClockManager) {
        let machine = &mut self.machine;
        let asked = clocks.step(&Seen {
            now_us: machine.now_us(),
            clocks: machine.clocks(),
            cpu_busy: machine.phase() == Phase::Launch,
            gpu_busy_us: machine.gpu_busy_us(),
        });
        machine.ask(Knob::Cpu, asked.cpu_khz);
        machine.ask(Knob::Gpu, asked.gpu_khz);
        machine.ask(Knob::Emc, asked.emc_khz);
    }

    /// Takes an event in; whether a request is done.
    fn happened(&mut self, event: Event) -> bool {
        if event != Event::RequestDone {
            return false;
        }
        if let Some(started) = self.running.take() {
            let Started { index, start_us, sub_network, clocks } = started;
            let end_us = self.machine.now_us();
            self.endings[index] = Some(Ending::Served { start_us, end_us, sub_network, clocks });
        }
        true
    }

    fn done(self) -> Run {
        let requests = self.stream.requests.iter().zip(self.endings);
        // Every request has an ending: none waits and none runs.
        let records = requests
            .filter_map(|(request, ending)| {
                ending.map(|ending| Record { request: *request, ending })
            })
            .collect();
        Run { records, end_us: self.stream.end_us, trail: self.machine.into_trail() }
    }
}

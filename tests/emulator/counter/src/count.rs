//! Counts: every instruction in the order of execution goes in, calls and wakes come out.

use std::fmt::Write;

use crate::thumb::Kind;

/// Most exceptions that interrupt one another.
const MAX_NESTED: usize = 16;

/// An instruction about to be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// Where it is.
    pub(crate) address: u32,
    /// The address behind it.
    pub(crate) behind: u32,
    /// What it does.
    pub(crate) kind: Kind,
    /// What begins here.
    pub(crate) begins: Option<Begins>,
}

/// What an address is the first instruction of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begins {
    /// A boot.
    Boot,
    /// The handler of this number.
    Handler(u8),
    /// The function of this number.
    Function(u8),
}

/// Calls of one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Calls {
    count: u64,
    min: u64,
    max: u64,
    sum: u64,
}

/// An open call of a counted function.
#[derive(Debug, Clone, Copy)]
struct Open {
    function: u8,
    /// Calls that were under way at its first instruction, its own among them.
    depth: usize,
    /// Counts at its first instruction.
    own: u64,
    interrupted: u64,
}

/// The thread, or a handler.
#[derive(Debug, Default)]
struct Level {
    executed: u64,
    /// Instructions of the handlers that interrupted it.
    interrupted: u64,
    /// Where the calls under way return to.
    returns: Vec<u32>,
    open: Vec<Open>,
    /// The handler's last instruction may have been its return: it was, unless the one at this
    /// address is next.
    returned: Option<u32>,
}

/// The counter.
#[derive(Debug)]
pub(crate) struct Counter {
    handler_names: Vec<String>,
    function_names: Vec<String>,
    calls: Vec<Calls>,
    /// The thread first, then each handler that interrupts the one before.
    levels: Vec<Level>,
    entries: u64,
    /// Instructions in handlers.
    handled: u64,
    /// Counts at the last `wfi`, and the handlers since.
    slept: (u64, u64),
    woken_by: Vec<bool>,
    records: String,
}

impl Counter {
    /// A counter of these functions.
    pub(crate) fn new(handler_names: Vec<String>, function_names: Vec<String>) -> Self {
        Self {
            calls: vec![Calls::default(); function_names.len()],
            woken_by: vec![false; handler_names.len()],
            handler_names,
            function_names,
            levels: vec![Level::default()],
            entries: 0,
            handled: 0,
            slept: (0, 0),
            records: String::new(),
        }
    }

    /// Takes in the instruction that is executed next. True where the core goes to sleep with it.
    ///
    /// # Errors
    /// The program is none of those that can be counted.
    pub(crate) fn execute(&mut self, instruction: Instruction) -> Result<bool, String> {
        let Instruction { address, behind, kind, begins } = instruction;
        if begins == Some(Begins::Boot) {
            self.boot();
        }
        // The end of a handler shows in what follows its return.
        if self.levels.len() > 1
            && self.level().returned.take().is_some_and(|untaken| untaken != address)
        {
            self.leave();
        }
        if let Some(Begins::Handler(number)) = begins {
            self.enter(number)?;
        }
        self.close(address);
        let in_handler = self.levels.len() > 1;
        let level = self.level();
        if let Some(Begins::Function(function)) = begins {
            let depth = level.returns.len();
            let (own, interrupted) = (level.executed, level.interrupted);
            level.open.push(Open { function, depth, own, interrupted });
        }
        level.executed += 1;
        match kind {
            Kind::Call => level.returns.push(behind),
            Kind::Return if in_handler && level.returns.is_empty() => {
                level.returned = Some(behind);
            }
            Kind::Sleep if !in_handler => self.sleep(),
            Kind::Return | Kind::Sleep | Kind::Other => {}
        }
        self.handled += u64::from(in_handler);
        Ok(kind == Kind::Sleep)
    }

    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    fn boot(&mut self) {
        self.levels = vec![Level::default()];
        self.slept = (0, self.handled);
        self.woken_by.fill(false);
        self.records.push_str("boot\n");
    }

    fn enter(&mut self, number: u8) -> Result<(), String> {
        if self.levels.len() > MAX_NESTED {
            let name = &self.handler_names[usize::from(number)];
            return Err(format!("more than {MAX_NESTED} handlers in one another, the last {name}"));
        }
        self.entries += 1;
        self.woken_by[usize::from(number)] = true;
        self.levels.push(Level::default());
        Ok(())
    }

    fn leave(&mut self) {
        let Some(Level { executed, interrupted, .. }) = self.levels.pop() else { return };
        self.level().interrupted += executed + interrupted;
    }

    /// Ends the call that returns to this address, and with it the counted functions that it, or a
    /// function it left to in tail position, opened.
    fn close(&mut self, address: u32) {
        let level = self.level();
        if level.returns.last() != Some(&address) {
            return;
        }
        level.returns.pop();
        let depth = level.returns.len();
        let (executed, interrupted) = (level.executed, level.interrupted);
        while let Some(open) = self.level().open.pop_if(|open| open.depth > depth) {
            let outer = self.level().open.last().map(|outer| usize::from(outer.function));
            let outer = outer.map_or("-", |outer| self.function_names[outer].as_str());
            let (own, interrupted) = (executed - open.own, interrupted - open.interrupted);
            let name = &self.function_names[usize::from(open.function)];
            let _infallible = writeln!(self.records, "call {name} {own} {interrupted} {outer}");
            let calls = &mut self.calls[usize::from(open.function)];
            calls.min = if calls.count == 0 { own } else { calls.min.min(own) };
            calls.max = calls.max.max(own);
            calls.count += 1;
            calls.sum += own;
        }
    }

    fn sleep(&mut self) {
        let (executed, handled) = (self.level().executed, self.handled);
        let (own, in_handlers) = (executed - self.slept.0, handled - self.slept.1);
        self.slept = (executed, handled);
        let woken_by = self.woken_by.iter().zip(&self.handler_names);
        let names: Vec<_> = woken_by.filter(|(by, _)| **by).map(|(_, name)| &name[..]).collect();
        let names = if names.is_empty() { "-".to_owned() } else { names.join(",") };
        let _infallible = writeln!(self.records, "wake {own} {in_handlers} {names}");
        self.woken_by.fill(false);
    }

    /// The records since this was called last.
    pub(crate) fn take_records(&mut self) -> String {
        std::mem::take(&mut self.records)
    }

    /// The last records of a run.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::new();
        for (name, calls) in self.function_names.iter().zip(&self.calls) {
            let Calls { count, min, max, sum } = calls;
            if *count > 0 {
                let _infallible = writeln!(text, "function {name} {count} {min} {max} {sum}");
            }
        }
        let _infallible = writeln!(text, "handlers {} {}", self.entries, self.handled);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program given as (address, kind) of its instructions, two bytes each, in the order of
    /// their execution: function `f` at 100, `g` at 200, handlers at 900 (`h`) and 950 (`i`).
    fn run(program: &[(u32, Kind)]) -> (String, String) {
        let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let mut counter = Counter::new(names(["h", "i"]), names(["f", "g"]));
        for (address, kind) in program {
            let begins = match address {
                0 => Some(Begins::Boot),
                100 => Some(Begins::Function(0)),
                200 => Some(Begins::Function(1)),
                900 => Some(Begins::Handler(0)),
                950 => Some(Begins::Handler(1)),
                _ => None,
            };
            let instruction =
                Instruction { address: *address, behind: address + 2, kind: *kind, begins };
            counter.execute(instruction).unwrap();
        }
        (counter.take_records(), counter.summary())
    }

    use Kind::{Call, Other, Return, Sleep};

    #[test]
    fn a_function_is_counted_from_its_first_instruction_to_its_return() {
        let program = [(10, Call), (100, Other), (102, Other), (104, Return), (12, Other)];
        let (records, summary) = run(&program);
        assert_eq!(records, "call f 3 0 -\n");
        assert_eq!(summary, "function f 1 3 3 3\nhandlers 0 0\n");
    }

    #[test]
    fn callees_are_among_it_and_a_counted_one_names_its_caller() {
        let program = [
            (10, Call),
            (100, Other),
            (102, Call),
            (200, Return),
            (104, Call),
            (300, Return),
            (106, Return),
            (12, Other),
        ];
        assert_eq!(run(&program).0, "call g 1 0 f\ncall f 6 0 -\n");
    }

    #[test]
    fn a_call_in_tail_position_ends_with_its_caller() {
        // `f` leaves to `g` by a branch, which is no call.
        let program = [(10, Call), (100, Other), (102, Other), (200, Other), (202, Return)];
        let (records, _) = run(&[&program[..], &[(12, Other)]].concat());
        assert_eq!(records, "call g 2 0 f\ncall f 4 0 -\n");
    }

    #[test]
    fn a_handler_is_counted_apart_wherever_it_comes() {
        let function = [(10, Call), (100, Other), (102, Other), (104, Return), (12, Other)];
        // The handler has a call of its own, and a return that is not taken.
        let handler = [(900, Call), (960, Return), (902, Return), (904, Other), (906, Return)];
        for place in 1..function.len() {
            let (before, after) = function.split_at(place);
            let (records, summary) = run(&[before, &handler, after].concat());
            // Between call and first instruction, or after the return, it interrupts nobody counted.
            let inside = if place == 1 { 0 } else { 5 };
            assert_eq!(records, format!("call f 3 {inside} -\n"), "{place}");
            assert!(summary.ends_with("handlers 1 5\n"), "{place}: {summary}");
        }
    }

    #[test]
    fn handlers_follow_and_interrupt_one_another() {
        let program = [
            (10, Call),
            (100, Other),
            // One after the other, then one within the other, which calls the function too.
            (900, Return),
            (950, Return),
            (900, Other),
            (950, Call),
            (100, Return),
            (952, Return),
            (902, Return),
            (102, Return),
            (12, Other),
        ];
        let (records, summary) = run(&program);
        assert_eq!(records, "call f 1 0 -\ncall f 2 7 -\n");
        assert!(summary.ends_with("handlers 4 7\n"), "{summary}");
    }

    #[test]
    fn a_wake_is_what_lies_between_two_sleeps() {
        let program = [
            (0, Other),
            (2, Sleep),
            (900, Return),
            (4, Other),
            (2, Sleep),
            (950, Other),
            (952, Return),
            (4, Other),
            (6, Other),
            (2, Sleep),
            (2, Sleep),
        ];
        let wakes = "boot\nwake 2 0 -\nwake 2 1 h\nwake 3 2 i\nwake 1 0 -\n";
        assert_eq!(run(&program).0, wakes);
    }

    #[test]
    fn a_boot_forgets_what_was_open() {
        let program =
            [(10, Call), (100, Other), (900, Other), (0, Call), (100, Return), (2, Other)];
        assert_eq!(run(&program).0, "boot\ncall f 1 0 -\n");
    }

    #[test]
    fn a_handler_that_seems_to_nest_for_ever_is_an_error() {
        let mut counter = Counter::new(vec!["h".to_owned()], Vec::new());
        let begins = Some(Begins::Handler(0));
        let branch_to_itself = Instruction { address: 8, behind: 10, kind: Other, begins };
        let outcomes: Vec<_> =
            (0..=MAX_NESTED).map(|_| counter.execute(branch_to_itself)).collect();
        assert!(outcomes[..MAX_NESTED].iter().all(Result::is_ok));
        assert!(outcomes[MAX_NESTED].is_err());
    }
}

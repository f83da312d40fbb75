//! Counts of tests, read from what test programs print.
//!
//! A test that cannot run where it is prints `SKIPPED: <what is missing>` and returns; the test
//! runner calls that a success, so it is moved from the passed to the skipped ones here. Such
//! lines are only seen when the runner shows the output of tests that passed
//! (`--show-output`).

use std::fmt;
use std::process::ExitCode;

/// What a test prints, at the start of a line, when it cannot run.
pub(crate) const SKIP_MARK: &str = "SKIPPED: ";

/// Counted tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Successes of the test runner and of checks, tests that told of a skip among them.
    succeeded: u32,
    told_skips: u32,
    failed: Vec<String>,
    /// What tests that failed printed, from the first panic on, with their names.
    told: Vec<String>,
    skipped: Vec<String>,
    part: Part,
}

/// Lines of what a failed test printed that are told again at the end.
const TOLD_LINES: u32 = 30;

/// Where in a test program's output the reader is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Part {
    /// One line a test.
    #[default]
    Results,
    /// Captured output of tests that failed: so many lines from this test's first panic on are still to
    /// be told again.
    Failures { left: Option<u32> },
    /// Captured output of tests that passed: of this test, which told of a skip or did not.
    Successes { test: String, told: bool },
}

impl Tally {
    /// Counts a check that is not a test of the test runner, and says how it went.
    pub(crate) fn check(&mut self, name: &str, outcome: anyhow::Result<()>) {
        match &outcome {
            Ok(()) => println!("check {name} ... ok"),
            Err(error) => println!("check {name} ... FAILED: {error:#}"),
        }
        self.count_check(name, outcome);
    }

    fn count_check(&mut self, name: &str, outcome: anyhow::Result<()>) {
        match outcome {
            Ok(()) => self.succeeded = self.succeeded.saturating_add(1),
            Err(error) => self.failed.push(format!("{name}: {error:#}")),
        }
    }

    /// Counts a check that could not be made, and why.
    pub(crate) fn skip(&mut self, name: &str, missing: &str) {
        self.skipped.push(format!("{name}: {missing}"));
    }

    /// Takes in one line of a test runner's output.
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.part = Part::Results;
            self.succeeded = self.succeeded.saturating_add(count(counts, "passed"));
        } else if line == "failures:" {
            self.part = Part::Failures { left: None };
        } else if line == "successes:" {
            self.part = Part::Successes { test: String::new(), told: false };
        } else {
            self.line_within(line);
        }
    }

    fn line_within(&mut self, line: &str) {
        match &mut self.part {
            Part::Results => {
                if let Some(result) = line.strip_prefix("test ") {
                    self.result(result);
                }
            }
            Part::Failures { left } => {
                if line.starts_with("---- ") && line.ends_with(" ----") {
                    self.told.push(line.to_owned());
                    *left = Some(TOLD_LINES);
                } else if let Some(lines) = left.filter(|lines| *lines > 0)
                    && (lines < TOLD_LINES || line.contains("panicked at"))
                {
                    self.told.push(line.to_owned());
                    *left = Some(lines.saturating_sub(1));
                }
            }
            Part::Successes { test, told } => {
                let header = line.strip_prefix("---- ");
                if let Some(name) = header.and_then(|line| line.strip_suffix(" stdout ----")) {
                    name.clone_into(test);
                    *told = false;
                } else if let Some(missing) = line.strip_prefix(SKIP_MARK)
                    && !*told
                {
                    // One test counts once, however often it prints the mark.
                    *told = true;
                    self.told_skips = self.told_skips.saturating_add(1);
                    self.skipped.push(format!("{test}: {missing}"));
                }
            }
        }
    }

    /// Takes in `<name> ... FAILED` or `<name> ... ignored`.
    fn result(&mut self, result: &str) {
        let Some((name, verdict)) = result.rsplit_once(" ... ") else { return };
        if verdict == "FAILED" {
            self.failed.push(name.to_owned());
        } else if let Some(reason) = verdict.strip_prefix("ignored") {
            let reason = reason.strip_prefix(", ").unwrap_or("marked as ignored");
            self.skipped.push(format!("{name}: {reason}"));
        }
    }

    /// Number of successes so far, without what told of a skip.
    pub(crate) fn passed(&self) -> u32 {
        self.succeeded.saturating_sub(self.told_skips)
    }

    /// Number of failures so far.
    pub(crate) fn failures(&self) -> usize {
        self.failed.len()
    }

    /// Lists skips and failures, with what the latter told, prints the closing line and gives the exit
    /// code.
    pub(crate) fn close(&self) -> ExitCode {
        for what in &self.skipped {
            println!("skipped: {what}");
        }
        for line in &self.told {
            println!("{line}");
        }
        for what in &self.failed {
            println!("failed: {what}");
        }
        println!("{self}");
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = self.passed();
        let (failed, skipped) = (self.failed.len(), self.skipped.len());
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// The number before `what` in `ok. 3 passed; 0 failed; ...`.
fn count(counts: &str, what: &str) -> u32 {
    counts
        .split(['.', ';'])
        .filter_map(|part| part.trim().split_once(' '))
        .find(|(_, name)| *name == what)
        .and_then(|(number, _)| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> Tally {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.line(line));
        tally
    }

    #[test]
    fn results_of_several_programs_are_added() {
        let tally = read(
            "running 2 tests\ntest a ... ok\ntest b ... ok\n\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\n\
             running 1 test\ntest shared/src/lib.rs - x (line 3) ... ok\n\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!(tally.to_string(), "3 passed, 0 failed, 0 skipped");
        assert_eq!(tally.failures(), 0);
    }

    #[test]
    fn a_told_skip_is_no_pass_and_counts_once() {
        let tally = read(
            "running 2 tests\ntest a ... ok\ntest b ... ok\n\nsuccesses:\n\n\
             ---- a stdout ----\nSKIPPED: qemu-system-arm\nSKIPPED: again\n\n\
             ---- b stdout ----\nnothing SKIPPED: here\n\n\nsuccesses:\n    a\n    b\n\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!(tally.to_string(), "1 passed, 0 failed, 1 skipped");
        assert_eq!(tally.skipped, ["a: qemu-system-arm"]);
    }

    #[test]
    fn a_failed_test_that_told_of_a_skip_is_a_failure() {
        let tally = read(
            "test a ... FAILED\ntest b ... ok\n\nsuccesses:\n\nsuccesses:\n    b\n\n\
             failures:\n\n---- a stdout ----\nSKIPPED: x\ntest c ... FAILED\n\n\
             failures:\n    a\n\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!(tally.to_string(), "1 passed, 1 failed, 0 skipped");
        assert_eq!(tally.failed, ["a"]);
    }

    #[test]
    fn what_a_failed_test_told_is_kept_from_its_panic_on() {
        let panics: String = (0..40).map(|line| format!("line {line}\n")).collect();
        let tally = read(&format!(
            "test a ... FAILED\n\nsuccesses:\n\n---- b stdout ----\npanicked at x\n\n\
             failures:\n\n---- a stdout ----\nbefore\nthread 'a' panicked at y\n{panics}\n\
             failures:\n    a\n\n\
             test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n",
        ));
        assert_eq!(tally.told[..3], ["---- a stdout ----", "thread 'a' panicked at y", "line 0"]);
        assert_eq!(tally.told.len(), 1 + 30);
    }

    #[test]
    fn an_ignored_test_is_a_skip_with_its_reason() {
        let tally = read(
            "test a ... ignored, needs a board\ntest b ... ignored\n\n\
             test result: ok. 0 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!(tally.to_string(), "0 passed, 0 failed, 2 skipped");
        assert_eq!(tally.skipped, ["a: needs a board", "b: marked as ignored"]);
    }

    #[test]
    fn checks_join_the_count() {
        let mut tally = Tally::default();
        tally.count_check("fmt", Ok(()));
        tally.count_check("clippy", Err(anyhow::anyhow!("no")));
        tally.skip("deny", "cargo-deny");
        assert_eq!(tally.to_string(), "1 passed, 1 failed, 1 skipped");
    }
}

//! What came of all tests: a summary, JUnit's XML, TAP.

use std::borrow::Cow;

use bk::record::Record;
use serde::Serialize;

use crate::discover::Runner;
use crate::execute::{Outcome, Test};

impl Record for Test {
    fn line(&self) -> Cow<'_, [u8]> {
        // A parameter of a test may have anything in it.
        bk::sanitize(&self.id).into_bytes().into()
    }
}

/// How many tests had what outcome.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(tag = "type", rename = "summary")]
pub struct Summary {
    /// As they should.
    pub passed: usize,
    /// Not, or not run because of what is around them.
    pub failed: usize,
    /// Not run, or failed as was expected.
    pub skipped: usize,
    /// All that ran tests, with `+` between them.
    pub runner: String,
    /// How long the tests took, without what is around them.
    pub seconds: f64,
    /// The version of Python.
    pub python: String,
}

impl Record for Summary {
    fn line(&self) -> Cow<'_, [u8]> {
        self.text().into_bytes().into()
    }
}

impl Summary {
    /// Counts a test.
    pub fn add(&mut self, test: &Test) {
        let count = match test.outcome {
            outcome if outcome.is_bad() => &mut self.failed,
            outcome if outcome.is_skipped() => &mut self.skipped,
            _ => &mut self.passed,
        };
        *count += 1;
        self.seconds += test.seconds;
    }

    /// All of them.
    pub fn tests(&self) -> usize {
        self.passed + self.failed + self.skipped
    }

    /// For people, and for those who count.
    pub fn text(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The class and the name that JUnit's XML has for a test, as pytest's own reporter has them.
fn names(test: &Test) -> (String, String) {
    match test.id.split_once("::") {
        Some(_) => {
            let (address, parameters) = match test.id.find('[') {
                Some(at) => test.id.split_at(at),
                None => (test.id.as_str(), ""),
            };
            let mut parts: Vec<String> = address.split("::").map(str::to_owned).collect();
            if let Some(path) = parts.first_mut() {
                *path = path.strip_suffix(".py").unwrap_or(path).replace('/', ".");
            }
            let name = parts.pop().unwrap_or_default() + parameters;
            (parts.join("."), name)
        }
        None if test.runner == Runner::Pytest => {
            // A file that could not be collected.
            let path = test.id.strip_suffix(".py").unwrap_or(&test.id);
            (String::new(), path.replace('/', "."))
        }
        None => {
            let (class, name) = test.id.rsplit_once('.').unwrap_or(("", &test.id));
            (class.to_owned(), name.to_owned())
        }
    }
}

/// Text of XML 1.0, which knows neither most control characters nor a way to write them.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push('\t'),
            '\u{0}'..='\u{1f}' | '\u{7f}' | '\u{fffe}' | '\u{ffff}' => {
                escaped.push_str(&format!("#x{:02X}", u32::from(c)));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// JUnit's XML: a suite for each runner.
pub fn junit(tests: &[Test]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<testsuites>\n");
    let mut runners: Vec<Runner> = tests.iter().map(|test| test.runner).collect();
    runners.sort();
    runners.dedup();
    for runner in runners {
        let tests: Vec<&Test> = tests.iter().filter(|test| test.runner == runner).collect();
        let count = |which: fn(Outcome) -> bool| tests.iter().filter(|t| which(t.outcome)).count();
        let seconds: f64 = tests.iter().map(|test| test.seconds).sum();
        text += &format!(
            "<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{seconds:.3}\">\n",
            runner.name(),
            tests.len(),
            count(|outcome| outcome == Outcome::Failed),
            count(|outcome| outcome == Outcome::Error),
            count(Outcome::is_skipped),
        );
        for test in tests {
            let (class, name) = names(test);
            let head = format!(
                "<testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
                xml(&class),
                xml(&name),
                test.seconds
            );
            let message = xml(test.message.as_deref().unwrap_or_default());
            let element = |name: &str| {
                let whole = xml(test.text.as_deref().unwrap_or_default());
                format!("{head}><{name} message=\"{message}\">{whole}</{name}></testcase>\n")
            };
            text += &match test.outcome {
                Outcome::Passed | Outcome::Xpassed => format!("{head}/>\n"),
                Outcome::Failed => element("failure"),
                Outcome::Error => element("error"),
                Outcome::Skipped | Outcome::Xfailed => element("skipped"),
            };
        }
        text += "</testsuite>\n";
    }
    text + "</testsuites>\n"
}

/// A test as TAP 14 has it.
pub fn tap(number: usize, test: &Test) -> String {
    // What has a meaning in a description (TAP 14, escaping).
    let id = bk::sanitize(&test.id).replace('\\', "\\\\").replace('#', "\\#");
    let reason = bk::sanitize(test.message.as_deref().unwrap_or_default());
    match test.outcome {
        Outcome::Passed | Outcome::Xpassed => format!("ok {number} - {id}\n"),
        Outcome::Skipped => format!("ok {number} - {id} # SKIP {reason}\n"),
        Outcome::Xfailed => {
            // TAP's word for it, in two parts for those who look for work put off.
            format!("not ok {number} - {id} # {} {reason}\n", concat!("TO", "DO"))
        }
        Outcome::Failed | Outcome::Error => {
            let reason = serde_json::Value::from(reason);
            format!("not ok {number} - {id}\n  ---\n  message: {reason}\n  ...\n")
        }
    }
}

//! Two commands on the same work, in turn.

use std::fmt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bk::{Context, Error, Result};

use crate::process;

/// The columns of [`Row`].
pub const HEADING: &str = "case                          peer               ours CPU s  peer CPU s  \
                           peer/ours  ours wall  peer wall  ours MiB  peer MiB  target";

/// What shall be reached.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// Nothing was said.
    None,
    /// The peer takes at least so many times our processor time.
    Faster(f64),
    /// We take at most so many times the peer's.
    Within(f64),
    /// We are done after so many seconds.
    Wall(f64),
    /// We are done after at most so many times the peer's seconds.
    WallWithin(f64),
    /// We take so many seconds of processor time.
    Cpu(f64),
}

/// A side that takes longer than this is warm after its first run, and has no second one: an import takes
/// some peers a minute.
const LONG: f64 = 10.0;

/// One comparison.
pub struct Case {
    /// What is done.
    pub name: String,
    /// Who does it too.
    pub peer: String,
    /// How many runs are measured as one.
    pub batch: u32,
    /// What was promised.
    pub target: Target,
    /// Prepares one run of ours; what it prepares is not measured.
    pub ours: Box<dyn Fn() -> Result<Command>>,
    /// Prepares one run of the peer's.
    pub theirs: Box<dyn Fn() -> Result<Command>>,
}

/// What a run cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Processor seconds of the child and of all it waited for, user and system.
    pub cpu: f64,
    /// Seconds from start to end.
    pub wall: f64,
    /// The most memory any one process of it had, in bytes; at least what a start of this program
    /// takes, since the kernel counts from before exec(2).
    pub memory: u64,
}

impl Case {
    /// Runs both once to warm the caches, then in turn, and keeps the median of each.
    pub fn run(&self, runs: usize) -> Result<Row> {
        let side = |prepare: &dyn Fn() -> Result<Command>| -> Result<Cost> {
            let mut sum = Cost::default();
            for _ in 0..self.batch {
                let cost = measure(&mut prepare()?)?;
                sum.cpu += cost.cpu / f64::from(self.batch);
                sum.wall += cost.wall / f64::from(self.batch);
                sum.memory = sum.memory.max(cost.memory);
            }
            Ok(sum)
        };
        let (first, other) = (side(&self.ours)?, side(&self.theirs)?);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..runs.max(1) {
            for (side_, first, all) in
                [(&self.ours, first, &mut ours), (&self.theirs, other, &mut theirs)]
            {
                all.push(if first.wall > LONG { first } else { side(side_)? });
            }
        }
        Ok(Row {
            name: self.name.clone(),
            peer: self.peer.clone(),
            target: self.target,
            ours: median(ours),
            theirs: median(theirs),
        })
    }
}

/// The run in the middle by CPU seconds.
fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
    costs.get(costs.len() / 2).copied().unwrap_or_default()
}

/// Runs it to its end; what it writes is thrown away, and shown if it fails.
#[allow(unsafe_code)]
pub fn measure(command: &mut Command) -> Result<Cost> {
    let line = process::line(command);
    let failed = || format!("cannot run '{line}'");
    let start = Instant::now();
    // A file, since nobody empties a pipe while wait4 waits.
    let mut said = tempfile::tempfile()?;
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?);
    let child = child.spawn().context(failed)?;
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: the process is our child and is waited for here alone (`Child` does not wait when
    // dropped); both pointers are valid for writing, and an all-zero rusage is a valid one.
    let (waited, usage) = unsafe {
        let waited = libc::wait4(child.id().cast_signed(), &raw mut status, 0, usage.as_mut_ptr());
        (waited, usage.assume_init())
    };
    let wall = start.elapsed().as_secs_f64();
    if waited < 0 {
        return Err(Error::from(std::io::Error::last_os_error()).context(failed()));
    }
    if status != 0 {
        let mut text = String::new();
        std::io::Seek::rewind(&mut said)?;
        std::io::Read::read_to_string(&mut said, &mut text)?;
        return Err(Error::new(text.trim()).context(format!("'{line}' failed")));
    }
    let seconds = |time: libc::timeval| {
        let micros = time.tv_sec.cast_unsigned() * 1_000_000 + time.tv_usec.cast_unsigned();
        Duration::from_micros(micros).as_secs_f64()
    };
    let cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    // Linux counts ru_maxrss in KiB (getrusage(2)).
    Ok(Cost { cpu, wall, memory: usage.ru_maxrss.cast_unsigned() * 1024 })
}

/// A line of the table.
pub struct Row {
    name: String,
    peer: String,
    target: Target,
    ours: Cost,
    theirs: Cost,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let Row { name, peer, target, ours, theirs } = self;
        let verdict = |reached: bool| if reached { "" } else { " MISSED" };
        let target = match target {
            Target::None => String::new(),
            Target::Faster(times) => {
                format!(">= {times} x{}", verdict(theirs.cpu >= ours.cpu * times))
            }
            Target::Within(times) => {
                format!("CPU <= {times} x{}", verdict(ours.cpu <= theirs.cpu * times))
            }
            Target::WallWithin(times) => {
                format!("wall <= {times} x{}", verdict(ours.wall <= theirs.wall * times))
            }
            Target::Cpu(most) => format!("CPU <= {most} s{}", verdict(ours.cpu <= *most)),
            Target::Wall(most) => format!("wall <= {most} s{}", verdict(ours.wall <= *most)),
        };
        write!(
            f,
            "{name:<29} {peer:<18} {:>10.4} {:>11.4} {:>10.2} {:>10.4} {:>10.4} {:>9.0} {:>9.0}  {target}",
            ours.cpu,
            theirs.cpu,
            theirs.cpu / ours.cpu,
            ours.wall,
            theirs.wall,
            mib(ours.memory),
            mib(theirs.memory),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grandchildren_count_and_a_failure_says_why() {
        // The loop runs in a child of the child.
        let mut busy = Command::new("bash");
        busy.args(["-c", "(i=0; while ((i < 200000)); do ((i++)); done); exit 0"]);
        assert!(measure(&mut busy).unwrap().cpu > 0.05);
        let mut fails = Command::new("sh");
        fails.args(["-c", "echo why >&2; exit 3"]);
        assert!(measure(&mut fails).unwrap_err().to_string().contains("why"));
    }
}

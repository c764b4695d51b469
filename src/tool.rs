//! What every tool's `main` does.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use crate::record::{Format, Output, Record};
use crate::{Console, Dirs, Error, Level, Result, Status, config};

/// A tool: its command line, and what it does.
pub trait Tool: clap::Parser {
    /// The programs it may run.
    const NEEDS: &'static [Needs] = &[];
    /// Keys of its configuration that are no options; it reads them with [`Session::setting`].
    const SETTINGS: &'static [&'static str] = &[];

    /// The options all tools have.
    fn common(&self) -> &Common;

    /// Does what was asked for.
    fn run(self, session: &mut Session) -> Result<Status>;
}

/// A program that a tool runs, for `bk doctor`.
pub struct Needs {
    /// Its name on `PATH`.
    pub program: &'static str,
    /// The Debian package that has it, or another word on how to get it.
    pub package: &'static str,
    /// What does not work without it.
    pub what_for: &'static str,
}

/// The options all tools have.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Say only what failed
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say what is being done; twice: and why
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Colour what is for people
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    #[arg(value_parser = ["auto", "always", "never"])]
    color: String,
    /// Write and read NUL-ended records
    #[arg(short = '0', long, global = true, conflicts_with = "json")]
    null: bool,
    /// Write records as JSON, an object a line
    #[arg(long, global = true)]
    json: bool,
    /// Keep everything this tool keeps under DIR
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Print the configuration that would be used, and where each value comes from
    #[arg(long, global = true)]
    print_config: bool,
    /// Print the programs this tool may run (for `bk doctor`)
    #[arg(long, global = true, hide = true)]
    needs: bool,
}

/// What a running tool has at hand.
pub struct Session {
    /// stderr.
    pub console: Console,
    /// stdout.
    pub out: Output,
    /// Whether paths on stdin end with NUL.
    pub null: bool,
    /// Where things live.
    pub dirs: Dirs,
    /// `SOURCE_DATE_EPOCH`, in seconds since 1970, where it is set.
    pub epoch: Option<i64>,
    layers: Vec<config::Layer>,
}

impl Session {
    /// A key of the configuration that is no option, one of [`Tool::SETTINGS`].
    pub fn setting(&self, key: &str) -> Option<serde_yaml::Value> {
        config::structured(&self.layers, key)
    }

    /// The paths to work on: see [`crate::record::inputs`].
    pub fn inputs<'a>(
        &self,
        arguments: &'a [PathBuf],
    ) -> impl Iterator<Item = Result<PathBuf>> + 'a {
        crate::record::inputs(arguments, self.null, std::io::stdin().lock())
    }
}

/// Makes the `main` of a tool: `bk::main!(bk_deb::cli::Cli);`
#[macro_export]
macro_rules! main {
    ($tool:ty) => {
        fn main() -> std::process::ExitCode {
            $crate::run::<$tool>()
        }
    };
}

/// Parses, configures and runs a tool, and tells what came of it as the stream contract says.
pub fn run<T: Tool>() -> ExitCode {
    die_of_sigpipe();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let name = T::command().get_name().to_owned();
    let plain = Console::new(&name, Level::Normal, color("auto"));
    match start::<T>(&name, &arguments, &plain) {
        Ok(status) => ExitCode::from(status.code()),
        Err(error) => {
            plain.error(&error);
            ExitCode::from(error.exit_status().code())
        }
    }
}

/// Parses the command line again, with the configuration files as they are now: for servers that
/// are told to look (SIGHUP).
pub fn parse_again<T: Tool>() -> Result<T> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let name = T::command().get_name().to_owned();
    let (command, ..) = configured::<T>(&name, &arguments)?;
    command
        .try_get_matches_from(&arguments)
        .and_then(|matches| T::from_arg_matches(&matches))
        .map_err(|error| Error::new(error.render().to_string().trim().to_owned()))
}

/// The command with what is configured as its defaults, the folders, the configuration.
fn configured<T: Tool>(
    name: &str,
    arguments: &[OsString],
) -> Result<(Command, Dirs, Vec<config::Layer>)> {
    let env = |name: &str| std::env::var(name).ok();
    let root = root(arguments).or_else(|| std::env::var_os("BK_ROOT").map(PathBuf::from));
    let dirs = Dirs::new(root.as_deref(), |name| std::env::var_os(name).map(PathBuf::from));
    let tool = name.trim_start_matches("bk-");
    let layers = config::load(tool, &dirs)?;
    config::check_keys(&T::command(), T::SETTINGS, &layers)?;
    let command = config::apply(T::command(), tool, &[], &layers, &env);
    Ok((command, dirs, layers))
}

fn start<T: Tool>(name: &str, arguments: &[OsString], plain: &Console) -> Result<Status> {
    let env = |name: &str| std::env::var(name).ok();
    let tool = name.trim_start_matches("bk-");
    let (command, dirs, layers) = configured::<T>(name, arguments)?;

    if flag(arguments, "--print-config") {
        return print_config(command, tool, arguments, &layers, &env);
    }
    if flag(arguments, "--needs") {
        let mut out = Output::new(Format::Lines, std::io::stdout());
        for need in T::NEEDS {
            out.raw(format!("{}\t{}\t{}\n", need.program, need.package, need.what_for))?;
        }
        return out.flush().map(|()| Status::Done);
    }
    let parsed = command.try_get_matches_from(arguments).and_then(|m| T::from_arg_matches(&m));
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return Ok(usage(name, &error)),
    };
    let common = parsed.common().clone();
    let level = match (common.quiet, common.verbose) {
        (true, _) => Level::Quiet,
        (_, 0) => Level::Normal,
        (_, 1) => Level::Verbose,
        _ => Level::Debug,
    };
    let format = match (common.json, common.null) {
        (true, _) => Format::Json,
        (_, true) => Format::Null,
        _ => Format::Lines,
    };
    let console = Console::new(name, level, color(&common.color));
    let mut session = Session {
        console: console.clone(),
        out: Output::new(format, std::io::stdout()),
        null: common.null,
        dirs,
        epoch: epoch(env("SOURCE_DATE_EPOCH"))?,
        layers,
    };
    let done = parsed.run(&mut session);
    // What was told before a failure was true, and may be someone's input.
    let flushed = session.out.flush();
    match done.and_then(|status| flushed.map(|()| status)) {
        Ok(status) => Ok(status),
        Err(error) => {
            console.error(&error);
            let _ = plain;
            Ok(error.exit_status())
        }
    }
}

/// Without this, a reader that goes away (`| head -1`) would make every write an error to report.
#[allow(unsafe_code)]
fn die_of_sigpipe() {
    // SAFETY: SIG_DFL is a valid disposition for SIGPIPE, no handler is installed, and no other
    // thread runs yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

fn epoch(value: Option<String>) -> Result<Option<i64>> {
    let Some(text) = value.filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.parse::<i64>() {
        Ok(seconds) if seconds >= 0 => Ok(Some(seconds)),
        _ => Err(Error::new(format!("'{}' is no time", crate::sanitize(&text)))
            .context("cannot use SOURCE_DATE_EPOCH")
            .hint("set it to whole seconds since 1970, or unset it")
            .status(Status::Usage)),
    }
}

/// Options that must be known before the command line can be parsed.
fn words(arguments: &[OsString]) -> impl Iterator<Item = &OsString> {
    arguments.iter().skip(1).take_while(|word| *word != "--")
}

fn flag(arguments: &[OsString], flag: &str) -> bool {
    words(arguments).any(|word| word == flag)
}

fn root(arguments: &[OsString]) -> Option<PathBuf> {
    let mut words = words(arguments);
    while let Some(word) = words.next() {
        if word == "--root" {
            return words.next().map(PathBuf::from);
        }
        if let Some(root) = word.to_str().and_then(|word| word.strip_prefix("--root=")) {
            return Some(root.into());
        }
    }
    None
}

/// <https://no-color.org> and <https://bixense.com/clicolors>.
fn color(when: &str) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty() && v != "0");
    match when {
        "always" => true,
        "never" => false,
        _ if std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) => false,
        _ if set("CLICOLOR_FORCE") => true,
        _ => {
            std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
        }
    }
}

/// clap's words in our form; help and version are no errors.
fn usage(name: &str, error: &clap::Error) -> Status {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return if error.print().is_ok() { Status::Done } else { Status::Failed };
    }
    let text = error.render().to_string();
    let text = text.replacen("error: ", &format!("{name}: "), 1).replace("\n  tip: ", "\n  hint: ");
    drop(std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()));
    Status::Usage
}

#[derive(serde::Serialize)]
#[serde(tag = "type", rename = "config")]
struct Setting {
    option: String,
    value: Option<String>,
    origin: String,
}

impl Record for Setting {
    fn line(&self) -> std::borrow::Cow<'_, [u8]> {
        let value = self.value.as_deref().unwrap_or("-");
        format!("{}\t{value}\t{}", self.option, self.origin).into_bytes().into()
    }
}

fn print_config(
    command: Command,
    tool: &str,
    arguments: &[OsString],
    layers: &[config::Layer],
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Status> {
    let mut command = command.ignore_errors(true);
    command.build();
    let matches = command.clone().try_get_matches_from(arguments)?;
    let (mut command, mut matches, mut path) = (&command, &matches, Vec::new());
    while let Some((name, sub)) = matches.subcommand() {
        let Some(found) = command.find_subcommand(name) else { break };
        path.push(name);
        (command, matches) = (found, sub);
    }
    let format = if flag(arguments, "--json") { Format::Json } else { Format::Lines };
    let mut out = Output::new(format, std::io::stdout());
    for arg in command.get_arguments() {
        let Some(long) = arg.get_long() else { continue };
        if ["help", "version", "print-config", "needs"].contains(&long) {
            continue;
        }
        let origin = match matches.value_source(arg.get_id().as_str()) {
            Some(ValueSource::CommandLine) => format!("--{long}"),
            _ => config::find(tool, &path, long, layers, env)
                .map_or_else(|| "built in".into(), |found| found.origin),
        };
        out.record(&Setting { option: long.into(), value: shown(matches, arg), origin })?;
    }
    out.flush().map(|()| Status::Done)
}

fn shown(matches: &ArgMatches, arg: &clap::Arg) -> Option<String> {
    let id = arg.get_id().as_str();
    match arg.get_action() {
        clap::ArgAction::SetTrue => Some(matches.get_flag(id).to_string()),
        clap::ArgAction::Count => Some(matches.get_count(id).to_string()),
        _ => {
            let values = matches.get_raw(id)?;
            Some(values.map(crate::display).collect::<Vec<_>>().join(", "))
        }
    }
}

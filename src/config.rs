//! Configuration: option > `BK_TOOL_OPTION` > `./bk.yaml` > the user's file > `/etc/buildkit` >
//! built in.
//!
//! The keys are the long options of the tool, so that there is one name for one thing, and clap
//! checks every value wherever it came from. A command's name holds the options of that command
//! alone.

use std::path::Path;

use clap::{Arg, ArgAction, Command};
use serde_yaml::{Mapping, Value};

use crate::{Context, Dirs, Error, Result, Status, display, nearest};

/// The sections of `bk.yaml`: the tools, without `bk-`.
const TOOLS: [&str; 9] =
    ["template", "pypkg", "flow", "docsite", "deb", "test", "repo", "aptcache", "vm"];

/// A configuration file larger than this is not one.
const FILE_LIMIT: u64 = 1 << 20;

/// What one file says for the tool.
pub(crate) struct Layer {
    origin: String,
    values: Mapping,
}

/// Reads the files there are, the strongest first.
pub(crate) fn load(tool: &str, dirs: &Dirs) -> Result<Vec<Layer>> {
    let mut layers = Vec::new();
    if let Some(file) = read(Path::new("bk.yaml"))? {
        for key in file.keys() {
            check(key, TOOLS, "bk.yaml")?;
        }
        layers.extend(section(&file, tool).map(|v| Layer { origin: "bk.yaml".into(), values: v }));
    }
    for dir in &dirs.config {
        let path = dir.join(format!("{tool}.yaml"));
        if let Some(values) = read(&path)? {
            layers.push(Layer { origin: display(&path), values });
        }
    }
    Ok(layers)
}

fn read(path: &Path) -> Result<Option<Mapping>> {
    if !path.exists() {
        return Ok(None);
    }
    let parse = || -> Result<Mapping> {
        let bytes = crate::file::read(path, FILE_LIMIT)?;
        match serde_yaml::from_slice(&bytes)? {
            Value::Null => Ok(Mapping::new()),
            Value::Mapping(mapping) => Ok(mapping),
            _ => Err(Error::new("not a mapping of keys to values")),
        }
    };
    parse()
        .context(|| format!("cannot use the configuration '{}'", display(path)))
        .status(Status::Usage)
        .map(Some)
}

fn section(mapping: &Mapping, key: &str) -> Option<Mapping> {
    mapping.get(key).and_then(Value::as_mapping).cloned()
}

fn check<'a>(key: &Value, known: impl IntoIterator<Item = &'a str>, origin: &str) -> Result<()> {
    let key = scalar(key).unwrap_or_default();
    let known: Vec<&str> = known.into_iter().collect();
    if known.contains(&key.as_str()) {
        return Ok(());
    }
    let mut error = Error::new(format!("unknown key '{}' in '{origin}'", crate::sanitize(&key)));
    if let Some(near) = nearest(&key, known).first() {
        error = error.hint(format!("did you mean '{near}'?"));
    }
    Err(error.status(Status::Usage))
}

/// Refuses keys that nothing reads; `structured` are those the tool reads itself.
pub(crate) fn check_keys(command: &Command, structured: &[&str], layers: &[Layer]) -> Result<()> {
    fn options(command: &Command, all: &mut Vec<String>) {
        all.extend(command.get_arguments().filter_map(Arg::get_long).map(str::to_owned));
        command.get_subcommands().for_each(|c| options(c, all));
    }
    let mut all = Vec::new();
    options(command, &mut all);
    let commands: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
    for layer in layers {
        for (key, value) in &layer.values {
            let sub = scalar(key).and_then(|k| command.find_subcommand(k));
            if let (Some(sub), Some(values)) = (sub, value.as_mapping()) {
                let nested = Layer { origin: layer.origin.clone(), values: values.clone() };
                check_keys(sub, &[], &[nested])?;
                continue;
            }
            let known = all.iter().map(String::as_str);
            check(
                key,
                known.chain(commands.iter().copied()).chain(structured.iter().copied()),
                &layer.origin,
            )?;
        }
    }
    Ok(())
}

/// The structured key `key` of the strongest layer that has it.
pub(crate) fn structured(layers: &[Layer], key: &str) -> Option<Value> {
    layers.iter().find_map(|layer| layer.values.get(key).cloned())
}

/// Where the value of an option comes from, if not from the command line.
pub(crate) struct Found {
    values: Vec<String>,
    pub(crate) origin: String,
}

/// Looks an option of the command `path` up: the environment first, then the files.
pub(crate) fn find(
    tool: &str,
    path: &[&str],
    long: &str,
    layers: &[Layer],
    env: &impl Fn(&str) -> Option<String>,
) -> Option<Found> {
    let variable = variable(tool, long);
    if let Some(value) = env(&variable).filter(|value| !value.is_empty()) {
        return Some(Found { values: vec![value], origin: variable });
    }
    layers.iter().find_map(|layer| {
        let in_command = path.iter().try_fold(layer.values.clone(), |m, word| section(&m, word));
        let value = in_command.as_ref().filter(|_| !path.is_empty()).and_then(|m| m.get(long));
        let values = match value.or_else(|| layer.values.get(long))? {
            Value::Sequence(items) => items.iter().filter_map(scalar).collect(),
            value => vec![scalar(value)?],
        };
        Some(Found { values, origin: layer.origin.clone() })
    })
}

/// The variable that sets an option: `BK_DEB_SUITE`; options all tools share are `BK_ROOT`.
fn variable(tool: &str, long: &str) -> String {
    let shared = ["root", "color"].contains(&long);
    let name = if shared { format!("BK_{long}") } else { format!("BK_{tool}_{long}") };
    name.to_uppercase().replace('-', "_")
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Makes what is configured the default of every option of `command` and of its commands.
pub(crate) fn apply(
    command: Command,
    tool: &str,
    path: &[&str],
    layers: &[Layer],
    env: &impl Fn(&str) -> Option<String>,
) -> Command {
    let mut command = command.mut_args(|arg| match arg.get_long().map(str::to_owned) {
        Some(long) => match find(tool, path, &long, layers, env) {
            Some(found) => default(arg, found.values),
            None => arg,
        },
        None => arg,
    });
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(&name, |sub| {
            let path: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
            apply(sub, tool, &path, layers, env)
        });
    }
    command
}

fn default(arg: Arg, values: Vec<String>) -> Arg {
    let arg = arg.required(false);
    match arg.get_action() {
        ArgAction::Append => arg.default_values(values),
        _ => arg.default_value(values.into_iter().next_back().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(texts: &[&str]) -> Vec<Layer> {
        let layer = |(i, text): (usize, &&str)| Layer {
            origin: i.to_string(),
            values: serde_yaml::from_str(text).unwrap(),
        };
        texts.iter().enumerate().map(layer).collect()
    }

    fn command() -> Command {
        let suite = Arg::new("suite").long("suite");
        let jobs = Arg::new("jobs").long("jobs").default_value("1");
        let keep = Arg::new("keep").long("keep").action(ArgAction::SetTrue);
        let many = Arg::new("exclude").long("exclude").action(ArgAction::Append);
        Command::new("t").subcommand(Command::new("build").args([suite, jobs, keep, many]))
    }

    #[test]
    fn the_strongest_layer_wins_and_options_win_over_all() {
        let layers =
            layers(&["build: {suite: trixie}\nkeep: true", "suite: sid\njobs: 4\nexclude: [a, b]"]);
        check_keys(&command(), &[], &layers).unwrap();
        let env = |name: &str| (name == "BK_T_JOBS").then(|| "9".to_owned());
        let get = |arguments: &[&str]| {
            let command = apply(command(), "t", &[], &layers, &env);
            let matches = command.try_get_matches_from(arguments).unwrap();
            matches.subcommand_matches("build").unwrap().clone()
        };
        let matches = get(&["t", "build"]);
        assert_eq!(matches.get_one::<String>("suite").unwrap(), "trixie");
        assert_eq!(matches.get_one::<String>("jobs").unwrap(), "9");
        assert!(matches.get_flag("keep"));
        assert_eq!(matches.get_many::<String>("exclude").unwrap().count(), 2);
        let matches = get(&["t", "build", "--suite", "bookworm", "--exclude", "c"]);
        assert_eq!(matches.get_one::<String>("suite").unwrap(), "bookworm");
        assert_eq!(matches.get_many::<String>("exclude").unwrap().count(), 1);
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = check_keys(&command(), &["packages"], &layers(&["siute: x"])).unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean 'suite'?"));
        assert_eq!(error.exit_status(), Status::Usage);
        check_keys(&command(), &["packages"], &layers(&["packages: {}"])).unwrap();
        assert!(check_keys(&command(), &[], &layers(&["build: {jbos: 1}"])).is_err());
    }
}

//! Files that two packages would have: of those to be built, and of the distribution's.

use std::collections::{BTreeMap, HashMap};

use bk::{Console, Error, Result, sanitize};

use crate::build::Looked;
use crate::convert::layout::SITE;
use crate::distro::contents::Contents;
use crate::plan::Instruction;

/// Finds both kinds of clashes among packages that were looked into, and adds the relations to the
/// instructions that the distribution's files ask for.
pub fn settle(
    looked: &[Looked],
    instructions: &mut [Instruction],
    contents: Option<&Contents>,
    console: &Console,
) -> Result<()> {
    let all: Vec<_> = looked.iter().map(|l| (&instructions[l.at], l.paths.as_slice())).collect();
    among(&all)?;
    let Some(contents) = contents else { return Ok(()) };
    let more =
        all.iter().map(|(instruction, paths)| with_distro(instruction, paths, contents, console));
    let more: Vec<Relations> = more.collect::<Result<_>>()?;
    for (Relations { conflicts, moved, taken, provides }, looked) in more.into_iter().zip(looked) {
        let spec = &mut instructions[looked.at].spec;
        spec.conflicts.extend(conflicts);
        spec.conflicts.extend(taken.iter().cloned());
        spec.breaks.extend(moved.iter().cloned());
        spec.replaces.extend(moved);
        spec.replaces.extend(taken);
        spec.provides.extend(provides);
    }
    Ok(())
}

/// Two packages must not ship the same path: dpkg would refuse the second one.
fn among(packages: &[(&Instruction, &[String])]) -> Result<()> {
    let mut owners: HashMap<&str, &Instruction> = HashMap::new();
    for (instruction, paths) in packages {
        for path in *paths {
            if let Some(other) = owners.insert(path, instruction) {
                let shown = sanitize(path);
                let package = &instruction.package;
                return Err(Error::new(format!(
                    "'{}' and '{package}' both have '/{shown}'",
                    other.package
                ))
                .hint(format!(
                    "leave it out of one of them ({}), or build one only",
                    remedy(&instruction.name, path)
                )));
            }
        }
    }
    Ok(())
}

fn remedy(name: &str, path: &str) -> String {
    let inside = path.strip_prefix(SITE).map(|rest| rest.trim_start_matches('/'));
    match inside.and_then(|rest| rest.split(['/', '.']).next()).filter(|m| !m.is_empty()) {
        Some(module) => format!("--conflict-module '{name} -> {}'", sanitize(module)),
        None => format!("--exclude '{}'", sanitize(path)),
    }
}

/// More relations for a package, because of the files it has in common with the distribution's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Relations {
    /// Those that cannot be there at the same time (Policy 7.4).
    conflicts: Vec<String>,
    /// Older versions of what is built too, whose files have moved (Policy 7.6.1): for `Breaks` and
    /// `Replaces`.
    moved: Vec<String>,
    /// Parts of what is one package here, which it stands in place of (Policy 7.6.2): for `Conflicts`
    /// and `Replaces`.
    taken: Vec<String>,
    /// Those of them that other packages depend on.
    provides: Vec<String>,
}

/// Holds a package's paths against those of the distribution's packages.
fn with_distro(
    instruction: &Instruction,
    paths: &[String],
    contents: &Contents,
    console: &Console,
) -> Result<Relations> {
    let spec = &instruction.spec;
    // What it is said to stand in place of is no surprise.
    let said = [&spec.provides, &spec.conflicts, &spec.replaces, &spec.breaks];
    let said: Vec<&str> =
        said.into_iter().flatten().filter_map(|relation| relation.split(' ').next()).collect();
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for path in paths {
        for owner in contents.owners(path) {
            if owner != spec.name && !said.contains(&owner) {
                owners.entry(owner).or_insert(path);
            }
        }
    }
    let mut relations = Relations::default();
    for (owner, path) in owners {
        let what = format!("'{}' and the distribution's '{owner}' both have '/{path}'", spec.name);
        let remedy = remedy(&instruction.name, path);
        match instruction.suite.get(owner) {
            Some(Some(version)) => relations.moved.push(format!("{owner} (<< {version})")),
            Some(None) => {
                return Err(Error::new(what).hint(format!(
                    "both are needed: leave the file out ({remedy}), or build all (--all)"
                )));
            }
            None if let Some(asked) = instruction.siblings.get(owner) => {
                console
                    .info(&format!("{what}: it stands in place of that part of the same source"));
                relations.taken.push(owner.to_owned());
                let version = &instruction.version;
                relations.provides.extend(asked.then(|| format!("{owner} (= {version})")));
            }
            None => {
                console.warn(&format!(
                    "{what}: they conflict; to have both, leave the file out ({remedy})"
                ));
                relations.conflicts.push(owner.to_owned());
            }
        }
    }
    Ok(relations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_is_what_helps() {
        assert_eq!(remedy("lib", "usr/bin/x"), "--exclude 'usr/bin/x'");
        let module = format!("{SITE}/tests/__init__.py");
        assert_eq!(remedy("lib", &module), "--conflict-module 'lib -> tests'");
        let single = format!("{SITE}/six.py");
        assert_eq!(remedy("lib", &single), "--conflict-module 'lib -> six'");
    }
}

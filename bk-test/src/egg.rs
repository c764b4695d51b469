//! Eggs, made from wheels, so with every build backend (setuptools' "Formats": the internal structure of eggs).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bk::{Cmd, Console, Context, Error, Result, sanitize};
use regex::Regex;

use crate::archive::{Member, Members};
use crate::pack;
use crate::python::Python;

const ZIP_SAFE: &str = include_str!("zip_safe.py");
const STUB: &str = include_str!("stub.py");

/// The name and the bytes of the egg of a wheel, for one version of Python. `name` is the wheel's.
pub fn of_wheel(
    path: &Path,
    members: &Members,
    python: &Python,
    epoch: i64,
    console: &Console,
) -> Result<(String, Vec<u8>)> {
    let name = path.file_name().map(bk::display).unwrap_or_default();
    let parts: Vec<&str> = name.trim_end_matches(".whl").split('-').collect();
    let [project, version, .., tag, _, _] = parts.as_slice() else {
        return Err(Error::new(format!("'{}' is no name of a wheel", sanitize(&name))));
    };
    let dist_info = pack::dist_info(members)?;
    let data = format!("{}.data/", dist_info.trim_end_matches(".dist-info"));
    let (mut egg, mut top, mut native) = (Members::new(), BTreeSet::new(), Vec::new());
    let refused = |path: &str, why: &str| {
        Error::new(format!("'{}' {why}", sanitize(path))).hint("--sdist --wheel makes the others")
    };
    let put = |egg: &mut Members, from: &str, to: String, member: &Member| match egg
        .insert(to, member.clone())
    {
        Some(_) => Err(refused(from, "is there twice where eggs have one folder for all")),
        None => Ok(()),
    };
    let info = format!("{dist_info}/");
    for (path, member) in members {
        if let Some(rest) = path.strip_prefix(&info) {
            let to = match rest {
                // What an egg has nothing for: its files are not installed one by one.
                "RECORD" | "WHEEL" | "INSTALLER" | "REQUESTED" | "direct_url.json" => continue,
                "RECORD.jws" | "RECORD.p7s" => continue,
                "METADATA" => "PKG-INFO",
                rest => rest,
            };
            put(&mut egg, path, format!("EGG-INFO/{to}"), member)?;
            continue;
        }
        let (place, executable) = match path.strip_prefix(&data).map(|rest| rest.split_once('/')) {
            None => (path.clone(), false),
            Some(Some(("purelib" | "platlib" | "data", rest))) => (rest.to_owned(), false),
            Some(Some(("scripts", rest))) => (format!("EGG-INFO/scripts/{rest}"), true),
            Some(_) => return Err(refused(path, "has no place in an egg (eggs have no headers)")),
        };
        let member = Member { executable: executable || member.executable, ..member.clone() };
        if !executable {
            let first = place.split('/').next().unwrap_or_default();
            match place.contains('/') {
                true if !path.starts_with(&format!("{data}data/")) => {
                    top.extend(first.split('.').next().map(str::to_owned));
                }
                false if first.ends_with(".py") || is_library(first) => {
                    top.extend(first.split('.').next().map(str::to_owned));
                }
                _ => {}
            }
            if is_library(&place) {
                native.push(place.clone());
            }
        }
        put(&mut egg, path, place, &member)?;
    }
    let metadata = egg.get("EGG-INFO/PKG-INFO").ok_or_else(|| Error::new("it has no METADATA"))?;
    let metadata = String::from_utf8_lossy(&metadata.data).into_owned();
    for library in &native {
        if let Some(module) = module_of(library) {
            let stub =
                STUB.replace("@NAME@", &serde_json::Value::from(library.as_str()).to_string());
            let stub = Member { data: stub.into_bytes(), executable: false };
            egg.entry(module).or_insert(stub);
        }
    }
    let said = Cmd::new(&python.program, console).args(["-I", "-c", ZIP_SAFE]).arg(path).output();
    let said = said.context(|| "cannot look into its modules".into())?;
    let flag = String::from_utf8_lossy(&said).trim().to_owned();
    let mut text = |name: &str, text: String| {
        let member = Member { data: text.into_bytes(), executable: false };
        egg.entry(format!("EGG-INFO/{name}")).or_insert(member);
    };
    let lines =
        |all: &mut dyn Iterator<Item = &String>| all.map(|line| format!("{line}\n")).collect();
    text("top_level.txt", lines(&mut top.iter()));
    text("dependency_links.txt", "\n".into());
    text(&flag, "\n".into());
    let requires = requires(&metadata)?;
    if !requires.is_empty() {
        text("requires.txt", requires);
    }
    if !native.is_empty() {
        text("native_libs.txt", lines(&mut native.iter()));
    }
    let sources: Vec<String> =
        members.keys().filter(|path| !path.starts_with(&info)).cloned().collect();
    text("SOURCES.txt", lines(&mut sources.iter()));
    // A wheel for one version of Python is not for the one at hand because that is at hand.
    let own = format!("cp{}", python.version.replace('.', ""));
    if !native.is_empty() && *tag != own && !tag.starts_with("py") && !parts.contains(&"abi3") {
        return Err(Error::new(format!("it is for {tag}, and this Python is {own}"))
            .hint("--python names another"));
    }
    let platform = if native.is_empty() { String::new() } else { format!("-{}", python.platform) };
    let name = format!("{project}-{version}-py{}{platform}.egg", python.version);
    // What describes an egg comes first, as it is what is looked for.
    let mut order: Vec<(&String, &Member)> = egg.iter().collect();
    order.sort_by_key(|(path, _)| (!path.starts_with("EGG-INFO/"), *path));
    Ok((name, pack::zip(order.into_iter(), epoch)?))
}

fn is_library(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.ends_with(".so")
        || name.contains(".so.")
        || name.ends_with(".pyd")
        || name.ends_with(".dll")
}

/// The module that stands for a library, if it is one that is imported; `libc.so.6` is not.
fn module_of(library: &str) -> Option<String> {
    let (folder, name) = library.rsplit_once('/').map_or(("", library), |(dir, name)| (dir, name));
    if !name.ends_with(".so") && !name.ends_with(".pyd") || folder.ends_with(".libs") {
        return None;
    }
    let stem = name.split('.').next()?;
    let word = |c: char| c.is_alphanumeric() || c == '_';
    if stem.is_empty() || !stem.chars().all(word) {
        return None;
    }
    Some(if folder.is_empty() { format!("{stem}.py") } else { format!("{folder}/{stem}.py") })
}

/// `requires.txt`: requirements, and those of `[extra]`, `[:marker]` and `[extra:marker]` below.
fn requires(metadata: &str) -> Result<String> {
    let extra = Regex::new(r#"^(?:(.*?)\s+and\s+)?extra\s*==\s*['"]([^'"]+)['"]$"#)?;
    let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let head = metadata.split("\n\n").next().unwrap_or_default();
    for line in head.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        if key.eq_ignore_ascii_case("Provides-Extra") {
            sections.entry(value.trim().to_owned()).or_default();
        }
        if !key.eq_ignore_ascii_case("Requires-Dist") {
            continue;
        }
        let (requirement, marker) = value.split_once(';').unwrap_or((value, ""));
        let marker = marker.trim();
        let (name, marker) = match extra.captures(marker) {
            Some(found) => {
                let rest = found.get(1).map_or("", |rest| rest.as_str());
                (found.get(2).map_or("", |name| name.as_str()), without_parentheses(rest))
            }
            None => ("", marker),
        };
        if marker.contains("extra") {
            return Err(Error::new(format!(
                "requires.txt has no way to say '{}'",
                sanitize(value.trim())
            )));
        }
        let section = if marker.is_empty() { name.to_owned() } else { format!("{name}:{marker}") };
        // `x (>=1)` is an older form of `x>=1`.
        let requirement = match requirement.contains('@') {
            true => requirement.trim().to_owned(),
            false => requirement.replace([' ', '(', ')'], ""),
        };
        sections.entry(section).or_default().push(requirement);
    }
    let mut text = String::new();
    for (section, mut requirements) in sections {
        if !section.is_empty() {
            text += &format!("{}[{section}]\n", if text.is_empty() { "" } else { "\n" });
        }
        requirements.sort();
        requirements.iter().for_each(|requirement| text += &format!("{requirement}\n"));
    }
    Ok(text)
}

/// What is in parentheses that hold all of a text.
fn without_parentheses(text: &str) -> &str {
    let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) else {
        return text;
    };
    let mut depth = 0i32;
    for c in inner.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if depth < 0 {
            return text;
        }
    }
    inner
}

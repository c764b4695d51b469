//! The invariants of ARCHITECTURE.md that `cargo metadata` and the files themselves can show.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::workspace::{array, members};

/// Tools that may use another tool's package: bk-pypkg is a template, and the Debian formats live
/// in bk-deb.
const EDGES: [(&str, &str); 4] = [
    ("bk-pypkg", "bk-template"),
    ("bk-repo", "bk-deb"),
    ("bk-aptcache", "bk-deb"),
    ("bk-vm", "bk-deb"),
];

/// What must never reach a tool by way of `bk`'s default features.
const HEAVY: [&str; 3] = ["tokio", "hyper", "pgp"];

/// A source file that is longer should be split.
const LINES: usize = 700;

/// Words that have no place in the project, each in two parts so that this file has none of them:
/// names of registries and mirrors, which are the user's choice, and work put off.
const FORBIDDEN: [(&str, &str); 9] = [
    ("pypi", ".org"),
    ("python", "hosted.org"),
    ("crates", ".io"),
    ("deb.debian", ".org"),
    ("security.debian", ".org"),
    ("archive.ubuntu", ".com"),
    ("TO", "DO"),
    ("FIX", "ME"),
    ("#[ig", "nore"),
];

/// Everything that is wrong with the dependencies, a sentence each.
pub fn dependencies(metadata: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in members(metadata) {
        let name = text(&package["name"]);
        for dependency in array(&package["dependencies"]).map(|d| text(&d["name"])) {
            let tool = dependency.starts_with("bk-");
            if tool && name != "xtask" && !EDGES.contains(&(name, dependency)) {
                wrong.push(format!("'{name}' depends on the tool '{dependency}'"));
            }
        }
        if name == "bk" {
            wrong.extend(heavy(metadata, package));
        }
    }
    wrong
}

/// The heavy packages that `bk` has with its default features.
fn heavy(metadata: &Value, bk: &Value) -> Vec<String> {
    let optional = default_features(bk);
    let direct = array(&bk["dependencies"])
        .filter(|d| d["kind"].is_null())
        .filter(|d| d["optional"] == false || optional.contains(text(&d["name"])))
        .map(|d| text(&d["name"]));
    let nodes: Vec<&Value> = array(&metadata["resolve"]["nodes"]).collect();
    let packages: Vec<&Value> = array(&metadata["packages"]).collect();
    let name =
        |id: &Value| packages.iter().find(|p| p["id"] == *id).map_or("", |p| text(&p["name"]));
    let needs = |id: &Value| {
        let node = nodes.iter().find(|node| node["id"] == *id);
        node.into_iter()
            .flat_map(|node| array(&node["deps"]))
            .filter(|dep| array(&dep["dep_kinds"]).any(|kind| kind["kind"].is_null()))
    };

    let direct: BTreeSet<&str> = direct.collect();
    let mut queue: Vec<&Value> =
        needs(&bk["id"]).map(|dep| &dep["pkg"]).filter(|id| direct.contains(name(id))).collect();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    while let Some(id) = queue.pop() {
        if seen.insert(text(id)) {
            queue.extend(needs(id).map(|dep| &dep["pkg"]));
        }
    }
    let ids: Vec<Value> = seen.into_iter().map(Value::from).collect();
    let found: BTreeSet<&str> = ids.iter().map(name).filter(|n| HEAVY.contains(n)).collect();
    found.into_iter().map(|n| format!("'bk' needs '{n}' in its default features")).collect()
}

/// The optional dependencies that the default features switch on.
fn default_features(package: &Value) -> BTreeSet<String> {
    let mut queue = vec!["default".to_owned()];
    let (mut seen, mut dependencies) = (BTreeSet::new(), BTreeSet::new());
    while let Some(feature) = queue.pop() {
        if !seen.insert(feature.clone()) {
            continue;
        }
        for item in array(&package["features"][&feature]).map(text) {
            // "dep:name", "name/feature" (which switches name on) or another feature
            let name = item.strip_prefix("dep:").or(item.split_once('/').map(|(name, _)| name));
            match name {
                Some(name) => drop(dependencies.insert(name.to_owned())),
                None => queue.push(item.to_owned()),
            }
        }
    }
    dependencies
}

/// Everything that is wrong with the files of a tool's package.
pub fn packages(metadata: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in members(metadata) {
        let name = text(&package["name"]);
        let Some(dir) = Path::new(text(&package["manifest_path"])).parent() else { continue };
        if !name.starts_with("bk-") {
            continue;
        }
        if dir.file_name().is_none_or(|folder| folder != name) {
            wrong.push(format!("'{name}' is not in the folder of its name"));
        }
        for file in ["src/lib.rs", "src/cli.rs", "src/main.rs", "README.md"] {
            if !dir.join(file).is_file() {
                wrong.push(format!("'{name}' has no {file}"));
            }
        }
    }
    wrong
}

/// Everything that is wrong with the text of a file.
pub fn file(path: &Path, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let shown = path.display();
    // cargo writes its registry into the lock file.
    if path.file_name().is_none_or(|name| name != "Cargo.lock") {
        for (number, line) in text.lines().enumerate() {
            for word in FORBIDDEN.map(|(a, b)| format!("{a}{b}")) {
                if line.contains(&word) {
                    wrong.push(format!("{shown}:{}: has '{word}'", number + 1));
                }
            }
        }
    }
    let lines = text.lines().count();
    if path.extension().is_some_and(|e| e == "rs") && lines > LINES {
        wrong.push(format!("{shown}: has {lines} lines, more than {LINES}: split it"));
    }
    wrong
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workspace(features: Value) -> Value {
        let dep = |id: &str| json!({"pkg": id, "dep_kinds": [{"kind": null}]});
        json!({
            "workspace_members": ["bk", "a", "b"],
            "packages": [
                {"id": "bk", "name": "bk", "features": features, "dependencies": [
                    {"name": "light", "kind": null, "optional": false},
                    {"name": "hyper", "kind": null, "optional": true},
                ]},
                {"id": "a", "name": "bk-a", "dependencies": [{"name": "bk-deb"}]},
                {"id": "b", "name": "bk-repo", "dependencies": [{"name": "bk-deb"}]},
                {"id": "light", "name": "light"}, {"id": "hyper", "name": "hyper"},
                {"id": "tokio", "name": "tokio"},
            ],
            "resolve": {"nodes": [
                {"id": "bk", "deps": [dep("light"), dep("hyper")]},
                {"id": "hyper", "deps": [dep("tokio")]},
            ]},
        })
    }

    #[test]
    fn a_tool_that_uses_another_is_found() {
        let wrong = dependencies(&workspace(json!({"http": ["dep:hyper"]})));
        assert_eq!(wrong, ["'bk-a' depends on the tool 'bk-deb'"]);
    }

    #[test]
    fn a_heavy_package_is_found_however_deep() {
        let wrong = dependencies(&workspace(json!({"http": ["dep:hyper"], "default": ["http"]})));
        assert!(wrong.contains(&"'bk' needs 'hyper' in its default features".to_owned()));
        assert!(wrong.contains(&"'bk' needs 'tokio' in its default features".to_owned()));
    }

    #[test]
    fn forbidden_words_are_found() {
        let text = format!("fine\nsee http://{}{}/simple\n", "pypi", ".org");
        assert_eq!(file(Path::new("a.md"), &text).len(), 1);
        assert_eq!(file(Path::new("Cargo.lock"), &text).len(), 0);
        assert_eq!(file(Path::new("a.rs"), &"x\n".repeat(701)).len(), 1);
    }
}

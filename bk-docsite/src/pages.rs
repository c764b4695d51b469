//! The pages that a site has of its own.

use std::collections::{BTreeMap, BTreeSet};

use bk::{Context, Error, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::Serialize;
use serde_json::json;

use crate::distribution::{Kind, named};
use crate::site::{File, LATEST, Package, Site, normal};

/// The script in each published page, and the rest that pages load.
const ASSETS: [(&str, &str); 3] = [
    ("docsite.js", include_str!("pages/docsite.js")),
    ("search.js", include_str!("pages/search.js")),
    ("docsite.css", include_str!("pages/docsite.css")),
];

const TEMPLATES: [(&str, &str); 6] = [
    ("base.html", include_str!("pages/base.html")),
    ("site.html", include_str!("pages/site.html")),
    ("package.html", include_str!("pages/package.html")),
    ("search.html", include_str!("pages/search.html")),
    ("projects.html", include_str!("pages/projects.html")),
    ("project.html", include_str!("pages/project.html")),
];

fn render(template: &str, values: serde_json::Value) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    // minijinja's own also escapes each '/', which nobody needs who puts attributes between quotes.
    environment.set_formatter(|out, state, value| match value.as_str() {
        Some(text) if !value.is_safe() => Ok(out.write_str(&bk::http::escape(text))?),
        _ => minijinja::escape_formatter(out, state, value),
    });
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .keep_trailing_newline(true)
            .build()?,
    );
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    let page = environment.get_template(template)?.render(Value::from(Serde(values)));
    page.map_err(|error| Error::from(error).context(format!("cannot write the page {template}")))
}

/// Writes what pages load.
pub fn assets(site: &Site) -> Result<()> {
    let dir = site.root.join("_site");
    bk::file::create_dir(&dir)?;
    for (name, text) in ASSETS {
        let path = dir.join(name);
        let same = bk::file::read(&path, 1 << 20).is_ok_and(|old| old == text.as_bytes());
        if !same {
            bk::file::write(&path, text)?;
        }
    }
    Ok(())
}

/// The page of the site: its packages.
pub fn site(site: &Site, packages: &[Package]) -> Result<String> {
    #[derive(Serialize)]
    struct Row<'a> {
        name: &'a str,
        folder: String,
        latest: Option<&'a String>,
        versions: usize,
        files: usize,
    }
    let rows: Vec<Row<'_>> = packages
        .iter()
        .map(|package| Row {
            name: &package.name,
            folder: normal(&package.name),
            latest: package.aliases.get(LATEST),
            versions: package.versions.len(),
            files: package.files.len(),
        })
        .collect();
    render(
        "site.html",
        json!({ "title": site.settings.title, "apt": site.settings.apt, "rows": rows, "root": "" }),
    )
}

/// The page of a package: its versions and downloads.
pub fn package(site: &Site, package: &Package) -> Result<String> {
    #[derive(Serialize)]
    struct Download<'a> {
        name: &'a str,
        kind: &'static str,
        size: String,
        sha256: &'a str,
        requires_python: Option<&'a str>,
        yanked: Option<&'a str>,
        link: String,
    }
    #[derive(Serialize)]
    struct Release<'a> {
        version: &'a str,
        published: Option<&'a str>,
        aliases: Vec<&'a str>,
        files: Vec<Download<'a>>,
    }
    let folder = normal(&package.name);
    let mut versions: BTreeSet<&str> =
        package.versions.iter().map(|v| v.version.as_str()).collect();
    versions.extend(package.files.iter().map(|file| file.version.as_str()));
    let mut versions: Vec<&str> = versions.into_iter().collect();
    versions.sort_by(|a, b| crate::site::newest_first(a, b));
    let mut debs = Vec::new();
    let releases: Vec<Release<'_>> = versions
        .into_iter()
        .map(|version| {
            let documented = package.versions.iter().find(|v| v.version == version);
            let files = package.files.iter().filter(|file| file.version == version);
            let aliases = package.aliases.iter().filter(|(_, to)| *to == version);
            Release {
                version,
                published: documented.map(|v| day(&v.published)),
                aliases: aliases.map(|(alias, _)| alias.as_str()).collect(),
                files: files
                    .map(|file| {
                        let named = named(&file.name);
                        if let (Kind::Deb, Some(deb)) = (named.kind, named.package) {
                            debs.push(deb);
                        }
                        Download {
                            name: &file.name,
                            kind: kind(named.kind),
                            size: size(file.size),
                            sha256: &file.sha256,
                            requires_python: file.requires_python.as_deref(),
                            yanked: file.yanked.as_deref(),
                            link: format!("../files/{folder}/{}", file.name.replace('+', "%2B")),
                        }
                    })
                    .collect(),
            }
        })
        .collect();
    debs.sort();
    debs.dedup();
    let pips = package
        .files
        .iter()
        .any(|file| matches!(named(&file.name).kind, Kind::Wheel | Kind::Sdist));
    let url = site.settings.url.as_deref().map(|url| url.trim_end_matches('/'));
    render(
        "package.html",
        json!({ "title": site.settings.title, "apt": site.settings.apt, "root": "../", "name": package.name, "latest": package.aliases.get(LATEST), "folder": folder, "releases": releases, "debs": debs, "pips": pips, "url": url }),
    )
}

/// The page that searches.
pub fn search(site: &Site) -> Result<String> {
    render("search.html", json!({ "title": site.settings.title, "root": "" }))
}

/// The list of packages in the index for pip.
pub fn projects(names: &[String]) -> Result<String> {
    render("projects.html", json!({ "names": names }))
}

/// A package in the index for pip.
pub fn project(name: &str, files: &[&File], url: &dyn Fn(&File) -> String) -> Result<String> {
    let links: Vec<String> = files.iter().map(|file| url(file)).collect();
    render("project.html", json!({ "name": name, "files": files, "links": links }))
}

/// What a published page is told of the versions there are: a script. Pages that a version lacks are
/// listed, so that nobody is sent where nothing is.
pub fn versions(package: &Package) -> Result<String> {
    let all: BTreeSet<&str> =
        package.versions.iter().flat_map(|v| &v.pages).map(String::as_str).collect();
    let mut missing: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, version) in package.versions.iter().enumerate() {
        let there: BTreeSet<&str> = version.pages.iter().map(String::as_str).collect();
        for page in all.difference(&there) {
            missing.entry(page).or_default().push(number);
        }
    }
    let versions: Vec<&str> = package.versions.iter().map(|v| v.version.as_str()).collect();
    let value = json!({
        "name": package.name, "versions": versions, "aliases": package.aliases, "missing": missing,
    });
    let value = serde_json::to_string(&value).context(|| "cannot write the versions".into())?;
    Ok(format!("docsite(\"versions\",{value});\n"))
}

/// What a file is, for people.
fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Wheel => "wheel",
        Kind::Sdist => "source",
        Kind::Egg => "egg",
        Kind::Deb => "Debian package",
        Kind::Other => "file",
    }
}

/// A size for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// The day of an RFC 3339 time.
fn day(time: &str) -> &str {
    time.split('T').next().unwrap_or_default()
}

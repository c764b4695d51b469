//! One package of a whole tree: a virtual environment (PEP 405) below /opt, apart from the
//! distribution's modules, with launchers where people look for commands.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;

use bk::{Error, Result, display, file, sanitize};

use crate::convert::control::check_name;
use crate::convert::layout::SITE;
use crate::debian::control::Paragraph;
use crate::pack::parts::Parts;
use crate::pack::scripts::{Services, User};
use crate::tree::{Attributes, Content, Entry, Kind};

/// A unit of systemd.
const UNIT_LIMIT: u64 = 1 << 20;
/// What starts a command: the interpreter of the environment the command is in, wherever that is.
/// The shell reads it as a command and a comment, Python as a string. pip and uv write the like.
const LAUNCHER: &str = "#!/bin/sh\n'''exec' \"$(dirname -- \"$(readlink -f -- \"$0\")\")/python\" \"$0\" \"$@\"\n' '''\n";
const PYTHON: &str = "#!/usr/bin/python3";

/// What a bundle is beside its tree.
pub struct Bundle<'a> {
    /// The package, and its folder below /opt.
    pub name: &'a str,
    /// The Python of the target.
    pub python: (u32, u32),
    /// The packages whose commands are for people.
    pub roots: &'a [String],
    /// Units to install, enable and start.
    pub units: &'a [PathBuf],
    /// The user that they run as.
    pub user: Option<&'a str>,
    /// Whether it needs modules of the distribution.
    pub with_system: bool,
}

impl Bundle<'_> {
    /// Makes one package of many. The first of `packages` gives it version and description.
    pub fn parts(&self, first: &str, packages: Vec<Parts>) -> Result<Parts> {
        check_name(self.name)?;
        let home = format!("opt/{}", self.name);
        let names: BTreeSet<String> =
            packages.iter().filter_map(|p| p.paragraph.get("Package").map(str::to_owned)).collect();
        let main = packages
            .iter()
            .find(|p| p.paragraph.get("Package") == Some(first))
            .map(|p| p.paragraph.clone())
            .ok_or_else(|| Error::new("nothing of what was named is in it"))?;
        let mtime = packages
            .iter()
            .flat_map(|p| &p.entries)
            .map(|(entry, _)| entry.attributes.mtime)
            .max()
            .unwrap_or(0);
        let mut bundle = Parts::default();
        let (mut depends, mut native) = (Vec::new(), None);
        let mut copyright = String::new();
        for package in packages {
            let own = package.paragraph.get("Package").unwrap_or_default().to_owned();
            if let Some(arch) = package.paragraph.get("Architecture").filter(|arch| *arch != "all")
            {
                native = Some(arch.to_owned());
            }
            for relation in package.paragraph.get("Depends").unwrap_or_default().split(", ") {
                let name = relation.split([' ', ':', '+']).next().unwrap_or_default();
                let apart = !names.contains(name) && name != "python3" && !relation.is_empty();
                if apart && !depends.iter().any(|d| d == relation) {
                    depends.push(relation.to_owned());
                }
            }
            let launched = self.roots.contains(&own);
            for (entry, content) in package.entries {
                self.add(&home, &own, launched, entry, content, &mut bundle, &mut copyright)?;
            }
        }
        self.environment(&home, mtime, &mut bundle);
        let doc = format!("usr/share/doc/{}", self.name);
        text(&mut bundle, &format!("{doc}/copyright"), copyright.into_bytes(), mtime);
        self.services(mtime, &mut bundle)?;
        bundle.files.insert("postinst".into(), self.postinst().into_bytes());
        bundle.files.insert("prerm".into(), self.prerm().into_bytes());
        let (major, minor) = self.python;
        // The environment's folder has Python's version in its name.
        let mut all = vec![
            format!("python3 (>= {major}.{minor}~)"),
            format!("python3 (<< {major}.{})", minor + 1),
        ];
        all.extend(crate::distro::shlibs::merge(depends));
        self.fields(&main, native, &all, &mut bundle.paragraph);
        Ok(bundle)
    }

    fn fields(
        &self,
        main: &Paragraph,
        native: Option<String>,
        depends: &[String],
        paragraph: &mut Paragraph,
    ) {
        let get = |field: &str| main.get(field).unwrap_or_default().to_owned();
        paragraph.set("Package", self.name);
        paragraph.set("Version", get("Version"));
        paragraph.set("Architecture", native.unwrap_or_else(|| "all".into()));
        paragraph.set("Maintainer", get("Maintainer"));
        paragraph.set("Depends", depends.join(", "));
        paragraph.set("Section", "misc");
        paragraph.set("Priority", "optional");
        if !get("Homepage").is_empty() {
            paragraph.set("Homepage", get("Homepage"));
        }
        paragraph.set("Description", get("Description"));
    }

    #[expect(clippy::too_many_arguments, reason = "they are one package's, and the bundle's")]
    fn add(
        &self,
        home: &str,
        own: &str,
        launched: bool,
        mut entry: Entry,
        mut content: Content,
        bundle: &mut Parts,
        copyright: &mut String,
    ) -> Result<()> {
        let (major, minor) = self.python;
        let site = format!("{home}/lib/python{major}.{minor}/site-packages");
        let doc = format!("usr/share/doc/{own}/");
        if entry.kind == Kind::Dir {
            return Ok(());
        }
        if entry.path.starts_with("usr/share/lintian/") {
            return Ok(());
        }
        if let Some(name) = entry.path.strip_prefix(&doc) {
            if name == "copyright" {
                let mut text = String::new();
                content.open()?.read_to_string(&mut text)?;
                *copyright += &format!("{}{text}", if copyright.is_empty() { "" } else { "\n\n" });
            }
            if ["copyright", "changelog.Debian.gz"].contains(&name) {
                return Ok(());
            }
        }
        let command = entry.path.strip_prefix("usr/bin/").map(str::to_owned);
        entry.path = match entry.path.strip_prefix(SITE) {
            Some(rest) => format!("{site}{rest}"),
            None => format!("{home}/{}", entry.path.strip_prefix("usr/").unwrap_or(&entry.path)),
        };
        if let Kind::File(size) = &mut entry.kind
            && (command.is_some() || entry.path.ends_with(".dist-info/RECORD"))
        {
            let mut bytes = Vec::new();
            content.open()?.read_to_end(&mut bytes)?;
            let changed = match &command {
                Some(_) => bytes.strip_prefix(PYTHON.as_bytes()).map(|rest| {
                    let body = rest.splitn(2, |b| *b == b'\n').nth(1).unwrap_or_default();
                    [LAUNCHER.as_bytes(), body].concat()
                }),
                // Paths outside /usr are below the environment too.
                None => Some(
                    String::from_utf8_lossy(&bytes)
                        .replace("../../../../", "../../../")
                        .into_bytes(),
                ),
            };
            let bytes = changed.unwrap_or(bytes);
            *size = bytes.len() as u64;
            content = Content::Bytes(bytes);
        }
        let page = entry.path.strip_prefix(&format!("{home}/share/man/")).map(str::to_owned);
        let linked = match (command, page) {
            (Some(command), _) => Some((format!("usr/bin/{command}"), "../..")),
            (_, Some(page)) => Some((format!("usr/share/man/{page}"), "../../../..")),
            _ => None,
        };
        if let Some((path, up)) = linked.filter(|_| launched) {
            let attributes = Attributes::root(0o777, entry.attributes.mtime);
            let kind = Kind::Symlink(format!("{up}/{}", entry.path));
            let link = Entry { path, attributes, kind, config: false };
            bundle.entries.push((link, Content::Bytes(Vec::new())));
        }
        entry.config = entry.path.starts_with(&format!("{home}/etc/"));
        bundle.entries.push((entry, content));
        Ok(())
    }

    /// PEP 405: what makes a folder an environment.
    fn environment(&self, home: &str, mtime: u64, bundle: &mut Parts) {
        let (major, minor) = self.python;
        let system = self.with_system;
        let text_of = format!(
            "home = /usr/bin\ninclude-system-site-packages = {system}\nversion = {major}.{minor}\n"
        );
        text(bundle, &format!("{home}/pyvenv.cfg"), text_of.into_bytes(), mtime);
        for (name, target) in
            [("python", "/usr/bin/python3".to_owned()), ("python3", "python".to_owned())]
        {
            let entry = Entry {
                path: format!("{home}/bin/{name}"),
                attributes: Attributes::root(0o777, mtime),
                kind: Kind::Symlink(target),
                config: false,
            };
            bundle.entries.push((entry, Content::Bytes(Vec::new())));
        }
    }

    fn services(&self, mtime: u64, bundle: &mut Parts) -> Result<()> {
        for unit in self.units {
            let name = unit.file_name().map(display).unwrap_or_default();
            let path = format!("usr/lib/systemd/system/{name}");
            let Some(unit_name) = Services::unit(&path).map(str::to_owned) else {
                return Err(Error::new(format!("'{}' is no unit of systemd", sanitize(&name)))
                    .hint("name a .service, .socket, .timer or .path"));
            };
            text(bundle, &path, file::read(unit, UNIT_LIMIT)?, mtime);
            bundle.services.units.push(unit_name);
        }
        if let Some(user) = self.user {
            bundle.services.users.push(User::new(user, Some(&format!("/opt/{}", self.name)))?);
        }
        Ok(())
    }

    /// As dh_python3(1) compiles private modules, those that compile.
    fn postinst(&self) -> String {
        let name = self.name;
        format!(
            "#!/bin/sh\nset -e\n\nif command -v py3compile >/dev/null 2>&1; then\n\
             \tpy3compile -p {name} /opt/{name} 2>/dev/null || true\nfi\n#DEBHELPER#\nexit 0\n"
        )
    }

    fn prerm(&self) -> String {
        let name = self.name;
        format!(
            "#!/bin/sh\nset -e\n\nif command -v py3clean >/dev/null 2>&1; then\n\
             \tpy3clean -p {name}\nfi\n#DEBHELPER#\nexit 0\n"
        )
    }
}

fn text(bundle: &mut Parts, path: &str, bytes: Vec<u8>, mtime: u64) {
    let entry = Entry {
        path: path.to_owned(),
        attributes: Attributes::root(0o644, mtime),
        kind: Kind::File(bytes.len() as u64),
        config: false,
    };
    bundle.entries.push((entry, Content::Bytes(bytes)));
}

//! Maintainer scripts (Policy chapter 6): the author's own, and what users and units of systemd
//! need, in the words of debhelper.

use std::collections::BTreeMap;

use bk::{Error, Result, sanitize};

/// Where units are, of which dh_installsystemd(1) knows too.
const FOLDERS: [&str; 2] = ["usr/lib/systemd/system/", "lib/systemd/system/"];

/// A user of the system that a package's programs run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name, and its group's.
    pub name: String,
    /// Its home, which is not made.
    pub home: String,
}

impl User {
    /// Checks a name by the rules of adduser(8).
    pub fn new(name: &str, home: Option<&str>) -> Result<Self> {
        let good = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.len() <= 32
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
        if !good {
            return Err(Error::new(format!("'{}' is no name of a user", sanitize(name)))
                .hint("use lower case letters, digits, '_' and '-', at most 32 of them"));
        }
        let home = home.unwrap_or("/nonexistent");
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        if !home.starts_with('/') || !home.chars().all(plain) {
            return Err(Error::new(format!("'{}' is no home of a user", sanitize(home))));
        }
        Ok(User { name: name.to_owned(), home: home.to_owned() })
    }
}

/// What a package does beside having files.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// Made before it is configured.
    pub users: Vec<User>,
    /// Units that are enabled and started, and restarted by an upgrade.
    pub units: Vec<String>,
}

impl Services {
    /// The unit that a path of a package is; templates (`x@.service`) are nobody's to start, and
    /// only some kinds can be enabled.
    pub fn unit(path: &str) -> Option<&str> {
        let name = FOLDERS.iter().find_map(|folder| path.strip_prefix(folder))?;
        let kinds = [".service", ".socket", ".timer", ".path"];
        let plain = |c: char| c.is_ascii_alphanumeric() || ":_.-".contains(c);
        (kinds.iter().any(|kind| name.ends_with(kind)) && name.chars().all(plain)).then_some(name)
    }

    /// Puts what is needed into the scripts: at `#DEBHELPER#`, or around a shell script.
    pub fn weave(&self, scripts: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
        for name in ["preinst", "postinst", "prerm", "postrm"] {
            let (before, after) = (self.before(name), self.after(name));
            let woven = match scripts.get(name) {
                Some(own) => weave(name, &String::from_utf8_lossy(own), &before, &after)?,
                None if before.is_empty() && after.is_empty() => continue,
                None => format!("#!/bin/sh\nset -e\n{before}{after}\nexit 0\n"),
            };
            scripts.insert(name.to_owned(), woven.into_bytes());
        }
        Ok(())
    }

    fn before(&self, script: &str) -> String {
        let user = |user: &User| {
            let User { name, home } = user;
            format!(
                "\nif [ \"$1\" = \"configure\" ]; then\n\tadduser --system --quiet --group \
                 --no-create-home --home {home} {name}\nfi\n"
            )
        };
        match script {
            "postinst" => self.users.iter().map(user).collect(),
            _ => String::new(),
        }
    }

    /// dh_installsystemd's snippets (compatibility level 13).
    fn after(&self, script: &str) -> String {
        if self.units.is_empty() {
            return String::new();
        }
        let all = self.units.join(" ");
        match script {
            "postinst" => {
                let each: String =
                    self.units.iter().map(|unit| ENABLE.replace("#UNITFILE#", unit)).collect();
                format!("{each}{}", RESTART.replace("#UNITFILES#", &all))
            }
            "prerm" => STOP.replace("#UNITFILES#", &all),
            "postrm" => format!("{RELOAD}{}", PURGE.replace("#UNITFILES#", &all)),
            _ => String::new(),
        }
    }
}

const ENABLE: &str = "
if [ \"$1\" = \"configure\" ] || [ \"$1\" = \"abort-upgrade\" ] || [ \"$1\" = \"abort-deconfigure\" ] || [ \"$1\" = \"abort-remove\" ] ; then
\tdeb-systemd-helper unmask #UNITFILE# >/dev/null || true
\tif deb-systemd-helper --quiet was-enabled #UNITFILE#; then
\t\tdeb-systemd-helper enable #UNITFILE# >/dev/null || true
\telse
\t\tdeb-systemd-helper update-state #UNITFILE# >/dev/null || true
\tfi
fi
";
const RESTART: &str = "
if [ \"$1\" = \"configure\" ] || [ \"$1\" = \"abort-upgrade\" ] || [ \"$1\" = \"abort-deconfigure\" ] || [ \"$1\" = \"abort-remove\" ] ; then
\tif [ -d /run/systemd/system ]; then
\t\tsystemctl --system daemon-reload >/dev/null || true
\t\tif [ -n \"$2\" ]; then
\t\t\t_dh_action=restart
\t\telse
\t\t\t_dh_action=start
\t\tfi
\t\tdeb-systemd-invoke $_dh_action #UNITFILES# >/dev/null || true
\tfi
fi
";
const STOP: &str = "
if [ -z \"${DPKG_ROOT:-}\" ] && [ \"$1\" = remove ] && [ -d /run/systemd/system ] ; then
\tdeb-systemd-invoke stop #UNITFILES# >/dev/null || true
fi
";
const RELOAD: &str = "
if [ \"$1\" = remove ] && [ -d /run/systemd/system ] ; then
\tsystemctl --system daemon-reload >/dev/null || true
fi
";
const PURGE: &str = "
if [ \"$1\" = \"purge\" ]; then
\tif [ -x \"/usr/bin/deb-systemd-helper\" ]; then
\t\tdeb-systemd-helper purge #UNITFILES# >/dev/null || true
\tfi
fi
";

fn weave(name: &str, own: &str, before: &str, after: &str) -> Result<String> {
    if !own.starts_with("#!") {
        return Err(Error::new(format!("the script '{name}' does not say what runs it"))
            .hint("start it with '#!/bin/sh'"));
    }
    if let Some((start, end)) = own.split_once("#DEBHELPER#") {
        return Ok(format!("{start}{before}{after}{end}"));
    }
    if before.is_empty() && after.is_empty() {
        return Ok(own.to_owned());
    }
    let (shebang, rest) = own.split_once('\n').unwrap_or((own, ""));
    let rest = rest.trim_end();
    let rest = rest.strip_suffix("exit 0").unwrap_or(rest);
    let shell = ["/sh", "/bash", "/dash"].iter().any(|shell| {
        shebang.split([' ', '\t']).any(|word| word.trim_start_matches("#!").ends_with(shell))
    });
    let ends =
        rest.split(|c: char| !c.is_alphanumeric()).any(|word| word == "exit" || word == "exec");
    if !shell || (!after.is_empty() && ends) {
        let why = if shell { "may end before its end" } else { "is no shell script" };
        return Err(Error::new(format!("the script '{name}' {why}"))
            .hint("write #DEBHELPER# where users are to be made and units started"));
    }
    Ok(format!("{shebang}\n{before}{rest}\n{after}\nexit 0\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snippets_are_debhelpers() {
        let services =
            Services { users: Vec::new(), units: vec!["x.service".into(), "x.timer".into()] };
        let mut scripts = BTreeMap::new();
        services.weave(&mut scripts).unwrap();
        let text = |name: &str| String::from_utf8(scripts[name].clone()).unwrap();
        for (script, snippets) in [
            ("postinst", &["postinst-systemd-enable", "postinst-systemd-restart"][..]),
            ("prerm", &["prerm-systemd-restart"]),
            ("postrm", &["postrm-systemd-reload-only", "postrm-systemd"]),
        ] {
            for snippet in snippets {
                let path = format!("/usr/share/debhelper/autoscripts/{snippet}");
                let snippet = std::fs::read_to_string(path).unwrap();
                let snippet = snippet
                    .replace("#UNITFILES#", "x.service x.timer")
                    .replace("#UNITFILE#", "x.service")
                    .replace("#RESTART_ACTION#", "restart");
                let code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with('#');
                let lines: Vec<&str> = snippet.lines().filter(code).collect();
                assert!(text(script).contains(&lines.join("\n")), "{}", text(script));
            }
        }
    }

    #[test]
    fn own_scripts_are_kept_and_what_cannot_be_woven_is_refused() {
        let services = Services {
            users: vec![User::new("app", None).unwrap()],
            units: vec!["x.service".into()],
        };
        let postinst = |own: &str| {
            let mut scripts = BTreeMap::from([("postinst".to_owned(), own.as_bytes().to_vec())]);
            services.weave(&mut scripts)?;
            Ok::<_, Error>(String::from_utf8(scripts["postinst"].clone()).unwrap())
        };
        let woven = postinst("#!/bin/sh\nset -e\nchown app /x\nexit 0\n").unwrap();
        let at = |text: &str| woven.find(text).unwrap();
        assert!(at("adduser") < at("chown") && at("chown") < at("deb-systemd-invoke"), "{woven}");
        assert_eq!(woven.matches("exit 0").count(), 1, "{woven}");
        let marked = postinst("#!/usr/bin/perl\n#DEBHELPER#\nexit 0;\n").unwrap();
        assert!(marked.contains("adduser") && marked.ends_with("exit 0;\n"), "{marked}");
        for bad in ["echo\n", "#!/usr/bin/python3\nx\n", "#!/bin/sh\nexit 1\nx\n"] {
            assert!(postinst(bad).is_err(), "{bad}");
        }
        assert!(User::new("Root", None).is_err() && User::new("a b", None).is_err());
    }

    #[test]
    fn units_are_told_by_their_place() {
        assert_eq!(Services::unit("lib/systemd/system/x.service"), Some("x.service"));
        assert_eq!(Services::unit("usr/lib/systemd/system/x.timer"), Some("x.timer"));
        for path in ["lib/systemd/system/x@.service", "lib/systemd/system/x.target", "x.service"] {
            assert_eq!(Services::unit(path), None, "{path}");
        }
    }
}

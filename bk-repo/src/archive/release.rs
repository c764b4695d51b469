//! The file `Release` (the Debian repository format, DebianRepository/Format).

use bk::{Error, Result};

use super::commit::{Settings, Signer, Suite};
use super::pdiff;

/// Writes the Release file of a suite, dated `date` in seconds since 1970.
pub fn text(name: &str, suite: &Suite, date: i64, keys: &[Signer]) -> Result<String> {
    let Settings { origin, label, codename, description, binary_all, .. } = &suite.settings;
    let mut text = String::new();
    let mut field = |name: &str, value: &str| text.extend([name, ": ", value, "\n"]);
    field("Origin", origin.as_deref().unwrap_or("BuildKit"));
    field("Label", label.as_deref().unwrap_or("BuildKit"));
    field("Suite", suite.settings.suite.as_deref().unwrap_or(name));
    field("Codename", codename.as_deref().unwrap_or(name));
    field("Date", &time(date)?);
    if let Some(seconds) = suite.settings.valid_for {
        field("Valid-Until", &time(date.saturating_add_unsigned(seconds))?);
    }
    if suite.settings.not_automatic {
        field("NotAutomatic", "yes");
    }
    if suite.settings.but_automatic_upgrades {
        field("ButAutomaticUpgrades", "yes");
    }
    field("Acquire-By-Hash", "yes");
    let mut architectures = suite.settings.architectures.clone();
    if *binary_all {
        architectures.insert(0, "all".into());
    } else {
        // Packages for every architecture are in each architecture's index.
        field("No-Support-for-Architecture-all", "Packages");
    }
    field("Architectures", &architectures.join(" "));
    field("Components", &suite.settings.components.join(" "));
    if let Some(description) = description {
        field("Description", description);
    }
    if suite.settings.signed_by {
        // Each of them, for apt asks for all that it has seen there before.
        let all: Vec<&str> = keys.iter().map(|key| key.fingerprint.as_str()).collect();
        field("Signed-By", &all.join(","));
    }
    text += "SHA256:\n";
    for (path, index) in suite.indexes.iter().filter(|(path, _)| !pdiff::is_patch(path)) {
        for file in &index.files {
            let line = format!(" {} {:>10} {path}{}\n", file.sha256, file.size, file.suffix);
            text += &line;
        }
    }
    Ok(text)
}

/// A time as apt reads it, with `UTC`, as Debian's own Release files write it.
fn time(seconds: i64) -> Result<String> {
    let time = jiff::Timestamp::from_second(seconds)
        .map_err(|_| Error::new(format!("{seconds} is no time a Release file can have")))?;
    Ok(time.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string())
}

/// The files a Release file lists: path, SHA-256 in hex, size.
pub fn files(release: &str) -> impl Iterator<Item = (&str, &str, u64)> {
    let lines = release.lines().skip_while(|line| *line != "SHA256:").skip(1);
    lines.take_while(|line| line.starts_with(' ')).filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (hash, size, path) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        Some((path, hash, size))
    })
}

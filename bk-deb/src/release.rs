//! Release files of archives: fetched, and their signatures checked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bk::{Cmd, Console, Context, Error, Result, file};

use crate::debian::control::Paragraph;
use crate::fetch::Fetch;

/// Debian 12's InRelease has 150 kB.
const LIMIT: u64 = 16 << 20;

const BEGIN: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";

/// Which signatures are good enough.
#[derive(Clone, Debug)]
pub struct Trust {
    keyrings: Vec<PathBuf>,
    required: bool,
}

impl Trust {
    /// Whatever this system's keyrings know: a bad signature is refused, a key that is not known here
    /// is not. For what is only looked at, and never run.
    pub fn system() -> Self {
        let folders = ["/usr/share/keyrings", "/etc/apt/keyrings", "/etc/apt/trusted.gpg.d"];
        let is_keyring =
            |path: &PathBuf| path.extension().is_some_and(|e| e == "gpg" || e == "pgp");
        let mut keyrings: Vec<PathBuf> = folders
            .iter()
            .filter_map(|dir| std::fs::read_dir(dir).ok())
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(is_keyring)
            .collect();
        keyrings.sort();
        Trust { keyrings, required: false }
    }

    /// A good signature by a key of the keyring, or of this system's where none is named, and no
    /// Release file that has run out: what apt asks for.
    pub fn required(keyring: Option<&Path>) -> Self {
        match keyring {
            Some(keyring) => Trust { keyrings: vec![keyring.to_owned()], required: true },
            None => Trust { required: true, ..Trust::system() },
        }
    }
}

/// The InRelease of the suite at `base`, its signature checked. Temporary files go to `dir`.
pub fn fetch(
    base: &str,
    trust: &Trust,
    dir: &Path,
    fetch: &Fetch,
    console: &Console,
) -> Result<Paragraph> {
    let signed = fetch.get(&format!("{base}/InRelease"), LIMIT)?.body;
    let failed = || format!("cannot use '{}/InRelease'", crate::fetch::shown(base));
    verify(&signed, trust, dir, console).context(failed)?;
    let release = Paragraph::parse(cleartext(&signed)).context(|| "bad InRelease".into())?;
    if trust.required {
        valid(&release).context(failed)?;
    }
    Ok(release)
}

/// The SHA-256 of the files it lists, by name.
pub fn sums(release: &Paragraph) -> Result<HashMap<String, String>> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (sum, _, name) = (words.next()?, words.next()?, words.next()?);
        Some((name.to_owned(), sum.to_owned()))
    };
    Ok(release.require("SHA256")?.lines().filter_map(line).collect())
}

/// The signed text of a message in the cleartext framework (RFC 9580 7).
fn cleartext(signed: &[u8]) -> &[u8] {
    let find = |text: &[u8], what: &[u8]| memchr::memmem::find(text, what);
    if !signed.starts_with(BEGIN) {
        return signed;
    }
    let start = find(signed, b"\n\n").map_or(0, |at| at + 2);
    let end = find(signed, b"\n-----BEGIN PGP SIGNATURE-----").unwrap_or(signed.len());
    &signed[start.min(end)..end]
}

/// Checks the signature with gpgv and the keyrings, as apt would.
fn verify(signed: &[u8], trust: &Trust, dir: &Path, console: &Console) -> Result<()> {
    file::create_dir(dir)?;
    let dir = file::TempDir::new_in(dir)?;
    let path = dir.path().join("InRelease");
    file::write(&path, signed)?;
    let mut gpgv = Cmd::new("gpgv", console).args(["--status-fd", "1"]);
    for ring in &trust.keyrings {
        gpgv = gpgv.arg("--keyring").arg(ring);
    }
    let status = match gpgv.arg(&path).output_unchecked() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) if trust.required => return Err(error),
        Err(_) => String::new(),
    };
    let says =
        |what: &str| status.lines().any(|line| line.starts_with(&format!("[GNUPG:] {what} ")));
    if says("BADSIG") {
        return Err(Error::new("the signature of InRelease is bad")
            .hint("the archive was changed on its way: use another --mirror"));
    }
    // GOODSIG is said of keys that have not expired, VALIDSIG of any that fit.
    match trust.required {
        true if !says("GOODSIG") || !signed.starts_with(BEGIN) => Err(Error::new(
            "no key of this system's keyrings has signed it",
        )
        .hint("install the keyring of that distribution: debian-archive-keyring has Debian's")),
        false if !says("VALIDSIG") => {
            console.info("the archive's signature was not checked: its key is not on this system");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Refuses what has run out: somebody may hand on an old state to keep its errors in use.
fn valid(release: &Paragraph) -> Result<()> {
    let Some(until) = release.get("Valid-Until") else { return Ok(()) };
    // "UTC" is what archives write and RFC 2822 does not know.
    let date = until.replace("UTC", "+0000").replace("GMT", "+0000");
    let time = jiff::fmt::rfc2822::parse(&date)
        .context(|| format!("its Valid-Until, '{}', is no date", bk::sanitize(until)))?;
    match time.timestamp() < jiff::Timestamp::now() {
        true => Err(Error::new(format!("it ran out on {}", bk::sanitize(until))).hint(
            "use a mirror, or a cache, that is up to date; and look at this machine's clock",
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_text_is_found() {
        let signed = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nA: b\nC: d\n\
                       -----BEGIN PGP SIGNATURE-----\nx\n-----END PGP SIGNATURE-----\n";
        assert_eq!(cleartext(signed), b"A: b\nC: d");
    }

    #[test]
    fn what_ran_out_is_refused() -> Result<()> {
        let release =
            |until: &str| Paragraph::parse(format!("Suite: x\nValid-Until: {until}\n").as_bytes());
        assert!(valid(&release("Sat, 15 Nov 2025 08:30:00 UTC")?).is_err());
        assert!(valid(&release("Tue, 15 Nov 2225 08:30:00 UTC")?).is_ok());
        assert!(valid(&release("soon")?).is_err());
        assert!(valid(&Paragraph::parse(b"Suite: x\n")?).is_ok());
        Ok(())
    }

    #[test]
    fn what_is_run_needs_a_good_signature() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let suite = dir.path().join("dists/x");
        file::create_dir(&suite)?;
        file::write(&suite.join("InRelease"), "Suite: x\nSHA256:\n")?;
        let client = Fetch::new(&Console::silent(), true);
        let base = crate::fetch::url_of(&suite);
        let get = |trust: &Trust| fetch(&base, trust, dir.path(), &client, &Console::silent());
        assert!(get(&Trust::system()).is_ok());
        let error = get(&Trust::required(None)).unwrap_err();
        assert!(error.to_string().contains("no key"), "{error}");
        Ok(())
    }
}

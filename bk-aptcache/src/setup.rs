//! The options that several commands have: where the cache is, and which archives are behind it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bk::{Context, Error, Result, Session, Status};
use bk_deb::debian::sources;

use crate::store::Store;
use crate::upstream::{Base, Mirror, Upstream, Upstreams};

/// Where apt keeps what it is set up for.
const APT: &str = "/etc/apt";

/// Where the cache is.
#[derive(Clone, Debug, clap::Args)]
pub struct Folder {
    /// The cache [default: the folder `apt` of the caches, /var/cache/buildkit/apt]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

impl Folder {
    /// The folder.
    pub fn path(&self, session: &Session) -> PathBuf {
        self.cache.clone().unwrap_or_else(|| session.dirs.cache.join("apt"))
    }

    /// The store in it, which must be there.
    pub fn store(&self, session: &Session) -> Result<Store> {
        Store::at(&self.path(session)).hint(|| "say where it is with --cache DIR".into())
    }
}

/// Which archives are behind the cache.
#[derive(Clone, Debug, clap::Args)]
pub struct Archives {
    /// An archive and its mirrors; those of this system's apt sources if none is given
    #[arg(long, value_name = "NAME=URL[,URL…]", help_heading = "Archives")]
    upstream: Vec<String>,
    /// The keys an archive's signatures are checked with
    #[arg(long, value_name = "NAME=FILE", help_heading = "Archives")]
    keyring: Vec<String>,
}

impl Archives {
    /// The archives.
    pub fn upstreams(&self) -> Result<Upstreams> {
        let mut all: Vec<Upstream> = match self.upstream.is_empty() {
            true => of_apt(Path::new(APT)),
            false => self.upstream.iter().map(|text| text.parse()).collect::<Result<_>>()?,
        };
        if all.is_empty() {
            return Err(Error::new("no archive to cache")
                .hint("name one with --upstream NAME=URL: this system's apt sources have none")
                .status(Status::Usage));
        }
        let mut known = BTreeMap::new();
        for upstream in &all {
            if known.insert(upstream.name.clone(), ()).is_some() {
                let name = &upstream.name;
                return Err(Error::new(format!("two upstreams are called '{name}'"))
                    .hint("give the mirrors of one archive in one --upstream, with commas between")
                    .status(Status::Usage));
            }
        }
        for text in &self.keyring {
            let (name, file) = text.split_once('=').ok_or_else(|| {
                Error::new(format!("'{}' is no keyring", bk::sanitize(text)))
                    .hint("write NAME=FILE, with the name of an upstream")
                    .status(Status::Usage)
            })?;
            let upstream = all.iter_mut().find(|u| u.name == name).ok_or_else(|| {
                Error::new(format!("no upstream is called '{}'", bk::sanitize(name)))
                    .status(Status::Usage)
            })?;
            let file = PathBuf::from(file);
            std::fs::metadata(&file)
                .context(|| format!("cannot use the keyring '{}'", bk::display(&file)))?;
            upstream.keyring = Some(file);
        }
        Ok(Upstreams { all: all.into_iter().map(Arc::new).collect() })
    }
}

/// The archives that apt is set up for, called by the last name of their path, or by their host
/// where that is another archive's already.
fn of_apt(apt: &Path) -> Vec<Upstream> {
    let mut all: Vec<Upstream> = Vec::new();
    for source in sources::read(apt) {
        let bases: Vec<Base> = source.uris.iter().filter_map(|uri| uri.parse().ok()).collect();
        let Some(first) = bases.first() else { continue };
        if all.iter().any(|upstream| upstream.mirrors.iter().any(|m| m.base == *first)) {
            continue;
        }
        let last = first.path.rsplit('/').next().filter(|name| !name.is_empty());
        let mut names = last.into_iter().chain([first.host.as_str()]).map(str::to_owned);
        let free = |name: &String| !all.iter().any(|upstream| upstream.name == *name);
        let Some(name) = names.find(free) else { continue };
        // The name goes through the check that names given by people go through.
        let Ok(mut upstream) = format!("{name}={first}").parse::<Upstream>() else { continue };
        upstream.mirrors = bases.iter().cloned().map(Mirror::new).collect();
        upstream.keyring = source.signed_by.filter(|keyring| keyring.exists());
        all.push(upstream);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_sources_are_archives_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let text = "deb http://MIRROR/debian sid main\ndeb http://MIRROR/debian x main\n\
            deb http://other:8080/debian sid main\ndeb https://MIRROR/x/debian-security sid main\n\
            deb cdrom:[x]/ sid main\ndeb http://plain ./\n";
        bk::file::write(&dir.path().join("sources.list"), text).unwrap();
        let all = of_apt(dir.path());
        let names: Vec<(&str, String)> =
            all.iter().map(|u| (u.name.as_str(), u.mirrors[0].base.to_string())).collect();
        let expected = [
            ("debian", "http://mirror/debian"),
            ("other", "http://other:8080/debian"),
            ("debian-security", "https://mirror/x/debian-security"),
            ("plain", "http://plain/"),
        ];
        assert_eq!(names, expected.map(|(name, base)| (name, base.to_owned())));
    }
}

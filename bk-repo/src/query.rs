//! Which packages are meant.

use bk::{Error, Result, Status};

use crate::archive::manifest::Key;

/// `name`, `name=version` or `name_version_arch`, each part of which may have `*` and `?`.
#[derive(Clone, Debug)]
pub struct Query {
    name: String,
    version: Option<String>,
    architecture: Option<String>,
}

impl Query {
    /// Reads a query.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || {
            Err(Error::new(format!("'{}' says no package", bk::sanitize(text)))
                .hint("say name, name=version or name_version_arch, with * and ? if you like")
                .status(Status::Usage))
        };
        // Neither names nor versions have an underscore.
        let words: Vec<&str> = text.split('_').collect();
        let (name, version, architecture) = match words[..] {
            [word] => match word.split_once('=') {
                Some((name, version)) => (name, Some(version), None),
                None => (word, None, None),
            },
            [name, version] => (name, Some(version), None),
            [name, version, architecture] => (name, Some(version), Some(architecture)),
            _ => return bad(),
        };
        if name.is_empty() || version == Some("") || architecture == Some("") {
            return bad();
        }
        let owned = |part: Option<&str>| part.map(str::to_owned);
        Ok(Query {
            name: name.to_owned(),
            version: owned(version),
            architecture: owned(architecture),
        })
    }

    /// Whether a package is meant.
    pub fn matches(&self, key: &Key) -> bool {
        let part = |pattern: &Option<String>, text: &str| {
            pattern.as_ref().is_none_or(|pattern| glob(pattern.as_bytes(), text.as_bytes()))
        };
        glob(self.name.as_bytes(), key.name.as_bytes())
            && part(&self.version, &key.version)
            && part(&self.architecture, &key.architecture)
    }

    /// The one name it can match, if it has no wildcard.
    pub fn exact_name(&self) -> Option<&str> {
        (!self.name.contains(['*', '?'])).then_some(&self.name)
    }
}

/// `*` is any text, `?` any character. Linear but for the last `*` tried again.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_mean_what_they_say() {
        let key = |name: &str, version: &str, arch: &str| {
            Key::from((name.to_owned(), version.to_owned(), arch.to_owned()))
        };
        let python = key("python3-x", "1:2.0-1", "amd64");
        for yes in ["python3-x", "python*", "*", "python?-x", "python3-x=1:2*", "*_*_amd64", "p*x"]
        {
            assert!(Query::parse(yes).unwrap().matches(&python), "{yes}");
        }
        for no in ["python", "x", "python3-x=2.0-1", "*_*_all", "python3-x_1:2.0-1_i386", "?"] {
            assert!(!Query::parse(no).unwrap().matches(&python), "{no}");
        }
        for bad in ["", "=1", "a_b_c_d", "a=", "_1_all"] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
    }
}

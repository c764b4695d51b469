//! Binary packages: .deb, .ddeb and .udeb.

use std::path::Path;

use bk::{Error, Result};
use bk_deb::debian::deb::Deb;

use super::{
    Opened, Package, Reader, check_architecture, check_name, check_version, extension, pool,
};
use crate::archive::manifest::Key;

/// Fields that say where a package is and what its file is like: only an index may say so.
const OF_THE_INDEX: [&str; 9] = [
    "Filename",
    "Size",
    "MD5sum",
    "SHA1",
    "SHA256",
    "SHA512",
    "Directory",
    "Description-md5",
    "Status",
];

impl Reader<'_> {
    pub(super) fn binary(&self, path: &Path, number: usize) -> Result<Package> {
        let mut file = Opened::new(path)?;
        let mut control = Deb::read(file.reader())?.control()?.paragraph;
        if control.to_string().len() as u64 > super::CONTROL_LIMIT {
            return Err(Error::new("its control file is larger than 4 MiB"));
        }
        let name = check_name(control.require("Package")?)?.to_owned();
        let version = check_version(&control)?;
        let architecture = check_architecture(control.require("Architecture")?)?.to_owned();
        // `Source: name (version)` where it differs from the package.
        let source = control.get("Source").and_then(|s| s.split_ascii_whitespace().next());
        let source = check_name(source.unwrap_or(&name))?.to_owned();
        let component = self.component(control.get("Section"))?;
        let architectures = &self.settings.architectures;
        if architecture != "all" && !architectures.contains(&architecture) {
            return Err(Error::new(format!(
                "the suite is not for the architecture '{architecture}'"
            ))
            .hint(format!(
                "it is for {}; 'bk-repo init REPO --arch {architecture}' adds it",
                architectures.join(", ")
            )));
        }
        let udeb = extension(path) == "udeb";
        let indexes = self.settings.indexes_of(&component, &architecture, udeb);
        let file_name =
            format!("{name}_{}_{architecture}.{}", version.without_epoch(), extension(path));
        let (mut file, _) = self.copy_opened(file, &file_name, number)?;
        file.key = format!("{}/{file_name}", pool(&component, &source));

        OF_THE_INDEX.iter().for_each(|field| drop(control.remove(field)));
        control.remove("Package");
        let description = control.remove("Description");
        let mut stanza = format!("Package: {name}\n{control}");
        let [key, sha256] = [&file.key, &file.sha256];
        stanza += &format!("Filename: {key}\nSize: {}\nSHA256: {sha256}\n", file.size);
        if let Some(description) = description {
            stanza += &format!("Description: {description}\n");
        }
        Ok(Package {
            key: Key { name, version: version.to_string(), architecture },
            component,
            indexes,
            stanza: stanza.into_bytes().into(),
            files: vec![file],
        })
    }
}

//! Source packages: a .dsc and the files it lists.

use std::path::Path;

use bk::{Context, Result, display};
use bk_deb::debian::control::Paragraph;

use super::{Package, Reader, check_listed, check_name, check_version, listed, pool};
use crate::archive::manifest::Key;
use crate::openpgp::strip_cleartext;

impl Reader<'_> {
    pub(super) fn source(&self, path: &Path, number: usize) -> Result<Package> {
        let text = strip_cleartext(&bk::file::read(path, super::CONTROL_LIMIT)?);
        let mut dsc = Paragraph::parse(&text).context(|| "not a .dsc file".into())?;
        let name = check_name(dsc.require("Source")?)?.to_owned();
        let version = check_version(&dsc)?;
        let component = self.component(dsc.get("Section"))?;
        let dir = pool(&component, &name);
        let dsc_name = format!("{name}_{}.dsc", version.without_epoch());
        let (mut file, md5) = self.copy(path, &dsc_name, number)?;
        file.key = format!("{dir}/{dsc_name}");
        let md5: String = md5.iter().map(|byte| format!("{byte:02x}")).collect();

        let mut files = vec![file.clone()];
        for listed in listed(&dsc)? {
            let beside = path.with_file_name(&listed.name);
            let (mut part, _) = self
                .copy(&beside, &listed.name, number)
                .context(|| format!("'{}' is listed in it", listed.name))
                .hint(|| format!("put '{}' beside the .dsc file", display(&listed.name)))?;
            check_listed(&part, &listed)?;
            part.key = format!("{dir}/{}", listed.name);
            files.push(part);
        }
        // The .dsc lists all files but itself; the index lists that too. Its other hashes would
        // need the .dsc's, and nobody needs them.
        let with_dsc = |hash: &str, rest: Option<&str>| {
            format!("\n {hash} {} {dsc_name}\n{}", file.size, rest.unwrap_or("").trim_matches('\n'))
        };
        let sums = with_dsc(&file.sha256, dsc.get("Checksums-Sha256"));
        let md5sums = with_dsc(&md5, dsc.get("Files"));
        for field in ["Source", "Checksums-Sha1", "Checksums-Sha512", "Directory", "Package"] {
            dsc.remove(field);
        }
        dsc.set("Checksums-Sha256", sums.trim_end());
        dsc.set("Files", md5sums.trim_end());
        dsc.set("Directory", dir.clone());
        Ok(Package {
            key: Key {
                name: name.clone(),
                version: version.to_string(),
                architecture: "source".into(),
            },
            indexes: vec![format!("{component}/source/Sources")],
            component,
            stanza: format!("Package: {name}\n{dsc}").into_bytes().into(),
            files,
        })
    }
}

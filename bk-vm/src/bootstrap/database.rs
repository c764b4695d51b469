//! dpkg's and apt's words on what was unpacked (dpkg(1), FILES).

use std::fmt::Write;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bk::{Context, Result, file};

use super::Plan;
use super::unpack::Unpacked;

const ADMIN: &str = "/var/lib/dpkg";

/// Writes the database of packages that are unpacked and not yet configured.
pub(super) fn write(plan: &Plan, unpacked: &[Unpacked]) -> Result<()> {
    let admin = Path::new(ADMIN);
    for dir in ["info", "updates", "triggers", "alternatives", "parts"] {
        file::create_dir(&admin.join(dir))?;
    }
    let mut status = String::new();
    for package in unpacked {
        let get = |name| package.paragraph.get(name).unwrap_or_default();
        // One of each architecture can be there.
        let name = match get("Multi-Arch") {
            "same" => format!("{}:{}", get("Package"), get("Architecture")),
            _ => get("Package").to_owned(),
        };
        let info = |kind: &str| admin.join("info").join(format!("{name}.{kind}"));
        put(&info("list"), &package.list, 0o644)?;
        for control in &package.control {
            put(&info(&control.name), &control.bytes, control.mode & 0o777)?;
        }
        status += &stanza(package);
    }
    put(&admin.join("status"), status, 0o644)?;
    put(&admin.join("available"), "", 0o644)?;
    put(&admin.join("arch"), format!("{}\n", plan.arch), 0o644)?;
    put(&admin.join("info/format"), "1\n", 0o644)?;

    let mut automatic = String::new();
    for item in plan.packages.iter().filter(|item| item.automatic) {
        let arch = if item.architecture == "all" { &plan.arch } else { &item.architecture };
        let _ = write!(
            automatic,
            "Package: {}\nArchitecture: {arch}\nAuto-Installed: 1\n\n",
            item.name
        );
    }
    file::create_dir(Path::new("/var/lib/apt"))?;
    put(Path::new("/var/lib/apt/extended_states"), automatic, 0o644)
}

fn stanza(package: &Unpacked) -> String {
    let mut paragraph = package.paragraph.clone();
    let name = paragraph.remove("Package").unwrap_or_default();
    let mut text = format!("Package: {name}\nStatus: install ok unpacked\n{paragraph}");
    if !package.conffiles.is_empty() {
        text += "Conffiles:\n";
        for (path, sum) in &package.conffiles {
            let _ = writeln!(text, " {path} {sum}");
        }
    }
    text + "\n"
}

/// Nobody reads the tree before it is whole: no file needs to be synced by itself.
fn put(path: &Path, bytes: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    let write = || {
        let mut file = std::fs::File::create(path)?;
        std::io::Write::write_all(&mut file, bytes.as_ref())?;
        file.set_permissions(Permissions::from_mode(mode))
    };
    write().context(|| format!("cannot write '{}'", bk::display(path)))
}

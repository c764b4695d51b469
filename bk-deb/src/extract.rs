//! `bk-deb extract`: the files of a package, in a folder.

use std::path::{Path, PathBuf};

use bk::{Context, Error, Result, Session, Status, display, file};
use clap::Args;

use crate::debian::deb::{ControlFile, Deb};
use crate::record::Written;
use crate::tree::{Attributes, Entry, Kind, Unpacker, safe};

/// Unpack a package into a folder
///
/// The folder is made; it appears when everything is in it. Files keep their permissions and times,
/// and are whose who runs this.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bk-deb extract x.deb -o x
      What the package installs, below x.
  bk-deb extract --control x.deb -o x && $EDITOR x/DEBIAN/control && bk-deb pack x
      Take a package apart, change it, and put it together again.

Exit status:
  0   it was unpacked
  1   it is no package, or could not be unpacked
  2   the command line or the configuration is wrong
")]
pub struct Extract {
    /// A .deb
    file: PathBuf,
    /// The folder to make, or one that is empty
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Also the control file and the maintainer scripts, in DIR/DEBIAN
    #[arg(long)]
    control: bool,
    /// Say what would be unpacked, and unpack nothing
    #[arg(long)]
    dry_run: bool,
}

impl Extract {
    /// Runs the command.
    pub fn run(self, session: &mut Session) -> Result<Status> {
        let failed = || format!("cannot unpack '{}'", display(&self.file));
        let mut deb = Deb::open(&self.file)?;
        let control = deb.control_files().context(failed)?;
        if self.dry_run {
            deb.data(|entry| session.out.raw(format!("/{}\n", safe(&entry.path_bytes())?)))
                .context(failed)?;
            return Ok(Status::Done);
        }
        let taken = self.output.read_dir().is_ok_and(|mut inside| inside.next().is_some());
        if taken || self.output.is_file() {
            return Err(Error::new(format!("'{}' is there already", display(&self.output)))
                .hint("name a folder that is not there, or is empty"));
        }
        let parent = match self.output.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        file::create_dir(parent)?;
        let temporary = file::TempDir::new_in(parent)?;
        let root = temporary.path().join("root");
        file::create_dir(&root)?;
        let mut unpacker = Unpacker::new(&root);
        deb.data(|entry| {
            let found = of_tar(entry)?;
            // The root's own permissions are the folder's that is made.
            if found.path.is_empty() { Ok(()) } else { unpacker.add(&found, entry) }
        })
        .context(failed)?;
        if self.control {
            add_control(&mut unpacker, &control).context(failed)?;
        }
        unpacker.finish().context(failed)?;
        std::fs::rename(&root, &self.output)
            .context(|| format!("cannot write '{}'", display(&self.output)))?;
        session.out.record(&Written::Dir { path: &self.output })?;
        Ok(Status::Done)
    }
}

fn add_control(unpacker: &mut Unpacker<'_>, control: &[ControlFile]) -> Result<()> {
    for file in control {
        let entry = Entry {
            path: safe(format!("DEBIAN/{}", file.name).as_bytes())?,
            attributes: Attributes::root(file.mode, 0),
            kind: Kind::File(file.bytes.len() as u64),
            config: false,
        };
        unpacker.add(&entry, &mut &file.bytes[..])?;
    }
    Ok(())
}

/// What an entry of a tar archive is in a package.
pub fn of_tar<R: std::io::Read>(entry: &tar::Entry<'_, R>) -> Result<Entry> {
    let path = safe(&entry.path_bytes())?;
    let header = entry.header();
    let text = |bytes: Option<&[u8]>| match bytes.map(std::str::from_utf8) {
        Some(Ok(name)) if !name.is_empty() && !name.contains(char::is_control) => name.to_owned(),
        _ => "root".to_owned(),
    };
    let target = entry.link_name_bytes().unwrap_or_default();
    let kind = match header.entry_type() {
        kind if kind.is_dir() => Kind::Dir,
        kind if kind.is_symlink() => match std::str::from_utf8(&target) {
            Ok(target) if !target.contains(char::is_control) => Kind::Symlink(target.to_owned()),
            _ => return Err(Error::new(format!("the target of the link '/{path}' is not UTF-8"))),
        },
        kind if kind.is_hard_link() => Kind::Hardlink(safe(&target)?),
        kind if kind.is_file() || kind.is_contiguous() => Kind::File(entry.size()),
        _ => {
            return Err(Error::new(format!("'/{path}' is no file, folder or link"))
                .hint("make devices, pipes and sockets in a maintainer script"));
        }
    };
    let attributes = Attributes {
        mode: header.mode()? & 0o7777,
        user: text(header.username_bytes()),
        group: text(header.groupname_bytes()),
        mtime: header.mtime()?,
    };
    Ok(Entry { path, attributes, kind, config: false })
}

//! What an ELF file needs at run time (the System V ABI, chapters 4 and 5; the Linux Standard Base
//! for symbol versions), read without having the whole file in memory.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use bk::{Error, Result};
use goblin::container::{Container, Ctx, Endian};
use goblin::elf::dynamic::{DT_NEEDED, DT_NULL, DT_SONAME};
use goblin::elf::header::{self, Header};
use goblin::elf::program_header::{PT_DYNAMIC, PT_INTERP, ProgramHeader};
use goblin::elf::section_header::{
    SHN_UNDEF, SHT_DYNSYM, SHT_GNU_VERNEED, SHT_GNU_VERSYM, SHT_SYMTAB, SectionHeader,
};
use goblin::elf::{Dyn, Sym, sym};
use scroll::Pread;
use scroll::ctx::SizeWith;

pub mod strip;

/// What any one table may have; Chromium's, the largest known, has a tenth of it.
const TABLE_LIMIT: u64 = 64 << 20;

/// Bytes that are read where they are needed.
pub trait Source {
    /// How many there are.
    fn len(&self) -> u64;
    /// Fills `buffer` from `offset` on.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()>;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Source for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        let part = usize::try_from(offset).ok().and_then(|at| self.get(at..)?.get(..buffer.len()));
        buffer.copy_from_slice(part.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Source for File {
    fn len(&self) -> u64 {
        self.metadata().map_or(0, |m| m.len())
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}

/// Files up to this size are held in memory, as many at once as packages are built.
const IN_MEMORY: u64 = 4 << 20;

/// A file that came as a stream, where it can be read at any place.
pub enum Held {
    /// In memory.
    Bytes(Vec<u8>),
    /// In a file without a name.
    File(File),
}

impl Held {
    /// Takes in `size` bytes; many go into the file that `scratch` makes.
    pub fn read(
        reader: &mut impl Read,
        size: u64,
        scratch: impl FnOnce() -> std::io::Result<File>,
    ) -> Result<Self> {
        if size > IN_MEMORY {
            let mut file = scratch()?;
            std::io::copy(reader, &mut file)?;
            return Ok(Held::File(file));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        reader.read_to_end(&mut bytes)?;
        Ok(Held::Bytes(bytes))
    }
}

impl Source for Held {
    fn len(&self) -> u64 {
        match self {
            Held::Bytes(bytes) => bytes.len() as u64,
            Held::File(file) => file.len(),
        }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        match self {
            Held::Bytes(bytes) => Source::read(bytes.as_slice(), offset, buffer),
            Held::File(file) => Source::read(file, offset, buffer),
        }
    }
}

/// A symbol that another file has to define.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Symbol {
    /// As the linker sees it.
    pub name: String,
    /// The version it was linked against.
    pub version: Option<String>,
    /// Whether it may be missing.
    pub weak: bool,
}

/// What a shared object or a program needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elf {
    /// The Debian architecture it is for, where there is one.
    pub architecture: Option<&'static str>,
    /// Whether it is started by the kernel, with an interpreter.
    pub program: bool,
    /// Whether it has a symbol table that only debuggers read, or debugging information.
    pub unstripped: bool,
    /// The name others need it by.
    pub soname: Option<String>,
    /// The sonames it needs, in their order.
    pub needed: Vec<String>,
    /// The folders it has looked for libraries in before all others, with colons between them.
    pub search: Option<String>,
    /// The versions it needs, by soname.
    pub versions: BTreeMap<String, Vec<String>>,
    /// The symbols it needs.
    pub symbols: Vec<Symbol>,
    /// Hashes of the names of those it defines, for [`Elf::defines`].
    pub(crate) defined: HashSet<u64>,
}

/// Whether these first bytes are those of an ELF file.
pub fn is_elf(head: &[u8]) -> bool {
    head.starts_with(header::ELFMAG)
}

/// A name as [`Elf::defined`] keeps it: libraries define tens of thousands.
fn hash(name: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hasher::write(&mut hasher, name);
    std::hash::Hasher::finish(&hasher)
}

/// The tables of a file.
struct Image {
    header: Header,
    sections: Vec<SectionHeader>,
    /// The names of sections.
    names: Vec<u8>,
    programs: Vec<ProgramHeader>,
    ctx: Ctx,
}

/// The file's header, and how its words are written.
fn header_of<S: Source + ?Sized>(source: &S) -> Result<(Header, Ctx)> {
    let start = bytes(source, 0, source.len().min(64))?;
    // goblin reads the header of the machine it runs on, or of any with the file's own words.
    let header: Header = start.pread(0).map_err(|_| Error::new("its ELF header is cut short"))?;
    let container = header.container().map_err(|_| Error::new("its ELF class is unknown"))?;
    let endian = header.endianness().map_err(|_| Error::new("its byte order is unknown"))?;
    Ok((header, Ctx::new(container, endian)))
}

impl Elf {
    /// Whether it defines a symbol for others.
    pub fn defines(&self, name: &str) -> bool {
        self.defined.contains(&hash(name.as_bytes()))
    }

    /// Reads an ELF file. A relocatable object or a static program needs nothing.
    pub fn read<S: Source + ?Sized>(source: &S) -> Result<Self> {
        let (header, ctx) = header_of(source)?;
        let reader = Reader { source, ctx };
        let mut elf = Elf { architecture: architecture(&header, ctx), ..Elf::default() };
        let phdrs = reader.table(header.e_phoff, header.e_phnum, header.e_phentsize)?;
        let programs =
            ProgramHeader::parse(&phdrs, 0, count(&phdrs, header.e_phentsize), reader.ctx);
        let programs = programs.unwrap_or_default();
        elf.program = programs.iter().any(|p| p.p_type == PT_INTERP);
        let shdrs = reader.table(header.e_shoff, header.e_shnum, header.e_shentsize);
        let sections = reader.sections(&shdrs.unwrap_or_default(), header.e_shentsize);
        elf.unstripped = header.e_type != header::ET_REL
            && sections.iter().any(|section| section.sh_type == SHT_SYMTAB);
        let dynamic = programs.iter().find(|p| p.p_type == PT_DYNAMIC);
        if let Some(dynamic) = dynamic {
            reader.dynamic(dynamic, &programs, &mut elf)?;
            reader.symbols(&sections, &mut elf);
        }
        Ok(elf)
    }
}

struct Reader<'a, S: ?Sized> {
    source: &'a S,
    ctx: Ctx,
}

impl<S: Source + ?Sized> Reader<'_, S> {
    fn table(&self, offset: u64, number: u16, size: u16) -> Result<Vec<u8>> {
        bytes(self.source, offset, u64::from(number) * u64::from(size))
    }

    fn sections(&self, table: &[u8], size: u16) -> Vec<SectionHeader> {
        let each = table.chunks_exact(usize::from(size).max(1));
        each.filter_map(|entry| entry.pread_with(0, self.ctx).ok()).collect()
    }

    fn dynamic(&self, dynamic: &ProgramHeader, all: &[ProgramHeader], elf: &mut Elf) -> Result<()> {
        let table = bytes(self.source, dynamic.p_offset, dynamic.p_filesz)?;
        let each = table.chunks_exact(Dyn::size_with(&self.ctx));
        let entries = each.filter_map(|entry| entry.pread_with::<Dyn>(0, self.ctx).ok());
        let entries: Vec<Dyn> = entries.take_while(|entry| entry.d_tag != DT_NULL).collect();
        let value = |tag: u64| entries.iter().find(|e| e.d_tag == tag).map(|e| e.d_val);
        use goblin::elf::dynamic::{
            DT_RPATH, DT_RUNPATH, DT_STRSZ, DT_STRTAB, DT_VERNEED, DT_VERNEEDNUM,
        };
        let (Some(at), Some(size)) = (value(DT_STRTAB), value(DT_STRSZ)) else { return Ok(()) };
        let names = Names::new(self.source, offset(all, at)?, size)?;
        let string = |at: u64| names.text(at);
        elf.soname = value(DT_SONAME).and_then(string);
        elf.search = value(DT_RUNPATH).or_else(|| value(DT_RPATH)).and_then(string);
        let needed = entries.iter().filter(|entry| entry.d_tag == DT_NEEDED);
        elf.needed = needed.filter_map(|entry| string(entry.d_val)).collect();
        if let (Some(at), Some(number)) = (value(DT_VERNEED), value(DT_VERNEEDNUM)) {
            let at = offset(all, at)?;
            self.walk_verneed(at, number, |library, _, version| {
                if let (Some(library), Some(version)) = (string(library), string(version)) {
                    elf.versions.entry(library).or_default().push(version);
                }
            })?;
        }
        Ok(())
    }

    /// Calls `visit` with library, index and version of each needed version; the names are offsets
    /// into the string table.
    fn walk_verneed(
        &self,
        start: u64,
        number: u64,
        mut visit: impl FnMut(u64, u16, u64),
    ) -> Result<()> {
        let le = self.ctx.le;
        let word = |offset: u64, at: usize| -> Result<u64> {
            let entry = bytes(self.source, offset, 16)?;
            Ok(entry.pread_with::<u32>(at, le)?.into())
        };
        let half = |offset: u64, at: usize| -> Result<u16> {
            Ok(bytes(self.source, offset, 16)?.pread_with(at, le)?)
        };
        let mut need = start;
        // A library and a version can be needed once: more steps than this is a circle.
        for _ in 0..number.min(1 << 16) {
            let mut aux = need.saturating_add(word(need, 8)?);
            for _ in 0..half(need, 2)? {
                visit(word(need, 4)?, half(aux, 6)?, word(aux, 8)?);
                match word(aux, 12)? {
                    0 => break,
                    next => aux = aux.saturating_add(next),
                }
            }
            match word(need, 12)? {
                0 => break,
                next => need = need.saturating_add(next),
            }
        }
        Ok(())
    }

    /// The undefined symbols, as far as the section headers tell where they are; without them the
    /// versions alone must do.
    fn symbols(&self, sections: &[SectionHeader], elf: &mut Elf) {
        let find = |kind: u32| sections.iter().find(|section| section.sh_type == kind);
        let read = |section: &SectionHeader| {
            bytes(self.source, section.sh_offset, section.sh_size).unwrap_or_default()
        };
        let Some(dynsym) = find(SHT_DYNSYM) else { return };
        let strings = sections.get(dynsym.sh_link as usize);
        let strings = strings.and_then(|s| Names::new(self.source, s.sh_offset, s.sh_size).ok());
        let Some(strings) = strings else { return };
        let versym = find(SHT_GNU_VERSYM).map(read).unwrap_or_default();
        let mut names: BTreeMap<u16, u64> = BTreeMap::new();
        if let Some(verneed) = find(SHT_GNU_VERNEED) {
            let number = verneed.sh_info.into();
            drop(self.walk_verneed(verneed.sh_offset, number, |_, index, version| {
                names.insert(index & 0x7fff, version);
            }));
        }
        let size = Sym::size_with(&self.ctx);
        let mut block = Vec::new();
        for index in 0..dynsym.sh_size as usize / size {
            // A block at a time: libtensorflow_cc's has 12 MB.
            let at = index % SYMBOLS * size;
            if at == 0 {
                let offset = (index * size) as u64;
                let left = (dynsym.sh_size - offset).min((SYMBOLS * size) as u64);
                let start = dynsym.sh_offset.saturating_add(offset);
                let Ok(read) = bytes(self.source, start, left) else { return };
                block = read;
            }
            let Ok(symbol) = block.pread_with::<Sym>(at, self.ctx) else { return };
            // The first is none (System V ABI, "Symbol Table").
            if index == 0 {
                continue;
            }
            if symbol.st_shndx != SHN_UNDEF as usize {
                elf.defined.insert(hash(&strings.get(symbol.st_name as u64).unwrap_or_default()));
                continue;
            }
            let version = versym.pread_with::<u16>(index * 2, self.ctx.le).ok();
            // The highest bit only hides a symbol from the linker.
            let version = version.and_then(|v| names.get(&(v & 0x7fff)));
            if let Some(name) = strings.text(symbol.st_name as u64).filter(|n| !n.is_empty()) {
                let version = version.and_then(|at| strings.text(*at));
                let weak = sym::st_bind(symbol.st_info) == sym::STB_WEAK;
                elf.symbols.push(Symbol { name, version, weak });
            }
        }
    }
}

fn count(table: &[u8], size: u16) -> usize {
    table.len() / usize::from(size).max(1)
}

/// Where in the file an address is.
fn offset(all: &[ProgramHeader], address: u64) -> Result<u64> {
    let load = |p: &&ProgramHeader| {
        p.p_type == goblin::elf::program_header::PT_LOAD
            && address >= p.p_vaddr
            && address - p.p_vaddr < p.p_filesz
    };
    let segment = all.iter().find(load);
    let segment = segment.ok_or_else(|| Error::new("an address in it is in no segment"))?;
    Ok((address - segment.p_vaddr).saturating_add(segment.p_offset))
}

fn bytes<S: Source + ?Sized>(source: &S, offset: u64, size: u64) -> Result<Vec<u8>> {
    if size > TABLE_LIMIT || offset.checked_add(size).is_none_or(|end| end > source.len()) {
        return Err(Error::new("a table of it is outside the file"));
    }
    let mut buffer = vec![0; size as usize];
    source.read(offset, &mut buffer)?;
    Ok(buffer)
}

/// A table of names, each ended by a zero. One that is large is not held: libtensorflow_cc's has 87 MB.
struct Names<'a, S: ?Sized> {
    source: &'a S,
    start: u64,
    size: u64,
    held: Option<Vec<u8>>,
}

/// How many symbols are read at once: some 100 KB.
const SYMBOLS: usize = 4096;
/// A table up to this size is held: as much as a decompressor's window.
const NAMES_HELD: u64 = 8 << 20;
/// How much is read of a table that is not held, as most names of C++ are shorter.
const NAME: u64 = 256;
/// No compiler writes a longer name.
const NAME_LIMIT: usize = 1 << 20;

impl<'a, S: Source + ?Sized> Names<'a, S> {
    fn new(source: &'a S, start: u64, size: u64) -> Result<Self> {
        if start.checked_add(size).is_none_or(|end| end > source.len()) {
            return Err(Error::new("a table of it is outside the file"));
        }
        let held = (size <= NAMES_HELD).then(|| bytes(source, start, size)).transpose()?;
        Ok(Names { source, start, size, held })
    }

    /// The name at an offset.
    fn get(&self, at: u64) -> Option<Cow<'_, [u8]>> {
        if let Some(held) = &self.held {
            let rest = held.get(usize::try_from(at).ok()?..)?;
            return Some(rest[..memchr::memchr(0, rest)?].into());
        }
        let (mut name, mut at) = (Vec::new(), at);
        while name.len() < NAME_LIMIT {
            let left = self.size.checked_sub(at).filter(|left| *left > 0)?;
            let part = bytes(self.source, self.start + at, left.min(NAME)).ok()?;
            at += part.len() as u64;
            let end = memchr::memchr(0, &part);
            name.extend_from_slice(&part[..end.unwrap_or(part.len())]);
            if end.is_some() {
                return Some(name.into());
            }
        }
        None
    }

    fn text(&self, at: u64) -> Option<String> {
        Some(String::from_utf8_lossy(&self.get(at)?).into_owned())
    }
}

fn string(table: &[u8], at: u64) -> Option<String> {
    let rest = table.get(usize::try_from(at).ok()?..)?;
    let end = memchr::memchr(0, rest)?;
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}

/// The Debian architecture of a header, as dpkg-shlibdeps tells them apart.
fn architecture(header: &Header, ctx: Ctx) -> Option<&'static str> {
    use Container::{Big, Little};
    let little = ctx.le == Endian::Little;
    Some(match (header.e_machine, ctx.container, little) {
        (header::EM_X86_64, Big, true) => "amd64",
        (header::EM_386, Little, true) => "i386",
        (header::EM_AARCH64, Big, true) => "arm64",
        // EF_ARM_ABI_FLOAT_HARD of the ARM ELF supplement.
        (header::EM_ARM, Little, true) if header.e_flags & 0x400 != 0 => "armhf",
        (header::EM_ARM, Little, true) => "armel",
        (header::EM_PPC64, Big, true) => "ppc64el",
        (header::EM_S390, Big, false) => "s390x",
        (header::EM_RISCV, Big, true) => "riscv64",
        // EM_LOONGARCH, which goblin does not know.
        (258, Big, true) => "loong64",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    /// What objdump says of a file: NEEDED, and undefined dynamic symbols with versions.
    fn objdump(path: &str, option: &str) -> String {
        let output = Command::new("objdump").args([option, path]).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn needs_are_those_that_objdump_shows() {
        for path in ["/usr/bin/dpkg", "/usr/bin/python3", "/lib/x86_64-linux-gnu/libstdc++.so.6"] {
            let elf = Elf::read(&File::open(path).unwrap()).unwrap();
            let private = objdump(path, "-p");
            let needed: Vec<&str> = private
                .lines()
                .filter_map(|line| line.trim().strip_prefix("NEEDED").map(str::trim))
                .collect();
            assert_eq!(elf.needed, needed, "{path}");
            let versions: usize = elf.versions.values().map(Vec::len).sum();
            let listed = private.split("Version References:").nth(1).unwrap();
            assert_eq!(versions, listed.lines().filter(|l| l.contains("0x")).count(), "{path}");
            let table = objdump(path, "-T");
            let undefined = table.lines().filter(|line| line.contains("*UND*"));
            let mut expected: Vec<String> = undefined
                .map(|line| {
                    let rest = line.split("*UND*\t").nth(1).unwrap();
                    let words: Vec<&str> = rest.split_whitespace().skip(1).collect();
                    match words.as_slice() {
                        ["Base", name] => (*name).to_owned(),
                        [version, name] => format!("{name}@{}", version.trim_matches(['(', ')'])),
                        other => other.concat(),
                    }
                })
                .collect();
            let mut found: Vec<String> = elf
                .symbols
                .iter()
                .map(|s| match &s.version {
                    Some(version) => format!("{}@{version}", s.name),
                    None => s.name.clone(),
                })
                .collect();
            expected.sort();
            found.sort();
            assert_eq!(found, expected, "{path}");
            assert_eq!(elf.architecture, Some("amd64"));
        }
    }

    #[test]
    fn names_of_a_large_table_are_those_of_a_small_one() -> Result<()> {
        // Names on both sides of where reading goes on, and one that has no end.
        let names: Vec<String> = [0, 1, 255, 256, 257, 600].map(|n| "n".repeat(n)).into();
        let mut table: Vec<u8> = vec![b'x'];
        let mut places = vec![];
        for name in &names {
            places.push(table.len() as u64);
            table.extend(name.as_bytes());
            table.push(0);
        }
        let open = table.len() as u64;
        table.extend(b"open");
        let held = Names::new(&table[..], 1, table.len() as u64 - 1)?;
        let read = Names { held: None, ..Names::new(&table[..], 1, table.len() as u64 - 1)? };
        for (name, at) in names.iter().zip(places) {
            for table in [&held, &read] {
                assert_eq!(table.text(at - 1).as_ref(), Some(name));
            }
        }
        for at in [open - 1, table.len() as u64 - 1, u64::MAX] {
            assert!(held.get(at).is_none() && read.get(at).is_none(), "{at}");
        }
        assert!(Names::new(&table[..], 2, table.len() as u64 - 1).is_err());
        Ok(())
    }

    #[test]
    fn bytes_and_file_are_read_alike() {
        let path = "/usr/bin/dpkg";
        let whole = std::fs::read(path).unwrap();
        let file = Elf::read(&File::open(path).unwrap()).unwrap();
        assert_eq!(Elf::read(&whole[..]).unwrap(), file);
        assert!(file.program);
    }

    #[test]
    fn a_file_cut_short_is_an_error_or_less() {
        let whole = std::fs::read("/usr/bin/dpkg").unwrap();
        for end in (0..whole.len()).step_by(4099) {
            drop(Elf::read(&whole[..end]));
        }
        assert!(Elf::read(&whole[..32]).is_err());
    }

    proptest! {
        #[test]
        fn damage_never_panics(damage in proptest::collection::vec((0usize..2000, any::<u8>()), 1..20)) {
            let mut bytes = std::fs::read("/bin/true").unwrap();
            for (at, byte) in damage {
                bytes[at] = byte;
            }
            drop(Elf::read(&bytes[..]));
        }
    }
}

//! Takes out of an ELF file what only a debugger reads (Policy 10.1): the symbol table of the
//! static linker and debugging information. No byte that is loaded moves, in the file or in memory.
//!
//! strip(1) lays a file out anew, which breaks those that auditwheel and patchelf have changed; here
//! the loaded part is copied as it is, and only what stands behind it is written anew. What is to
//! go but stands before something loaded becomes zeros, which take no place in a package.

use std::io::{self, Read};
use std::ops::Range;

use bk::{Error, Result};
use goblin::container::Container;
use goblin::elf::Dyn;
use goblin::elf::dynamic::{DT_NULL, DT_RPATH, DT_RUNPATH, DT_STRSZ, DT_STRTAB};
use goblin::elf::header::{ET_DYN, ET_EXEC};
use goblin::elf::program_header::{PT_DYNAMIC, ProgramHeader};
use goblin::elf::section_header::{
    SHF_ALLOC, SHT_NOBITS, SHT_NULL, SHT_REL, SHT_RELA, SHT_STRTAB, SHT_SYMTAB, SHT_SYMTAB_SHNDX,
    SectionHeader,
};
use scroll::ctx::SizeWith;
use scroll::{Pread, Pwrite};

use super::{Image, Names, Source, bytes, offset, string};

/// The largest page of any machine: there is no larger alignment.
const PAGE: u64 = 1 << 16;

/// How a file is written: what is copied, and what stands in place of the rest.
#[derive(Debug, Default)]
pub struct Edit {
    /// In bytes, of the result.
    pub size: u64,
    /// How many bytes of the file are not kept.
    pub saved: u64,
    /// Folders that are not looked for libraries in any more.
    pub unsearched: Option<String>,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Copy(Range<u64>),
    Zeros(u64),
    Bytes(Vec<u8>),
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Part::Copy(range) => range.end - range.start,
            Part::Zeros(n) => *n,
            Part::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

impl Edit {
    /// The file as it is.
    pub fn none(source: &(impl Source + ?Sized)) -> Self {
        let size = source.len();
        Edit { size, parts: vec![Part::Copy(0..size)], ..Edit::default() }
    }

    /// Whether the result is the file as it is.
    pub fn is_none(&self) -> bool {
        matches!(self.parts[..], [Part::Copy(_)])
    }

    /// The result, read from the file it was made for.
    pub fn reader<'a, S: Source + ?Sized>(&'a self, source: &'a S) -> Edited<'a, S> {
        Edited { source, parts: &self.parts, done: 0 }
    }
}

/// The bytes of an edited file.
pub struct Edited<'a, S: ?Sized> {
    source: &'a S,
    parts: &'a [Part],
    /// Of the first part.
    done: u64,
}

impl<S: Source + ?Sized> Read for Edited<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some((part, others)) = self.parts.split_first() {
            let left = part.len() - self.done;
            if left == 0 {
                (self.parts, self.done) = (others, 0);
                continue;
            }
            let n = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let buffer = &mut buffer[..n];
            match part {
                Part::Copy(range) => self.source.read(range.start + self.done, buffer)?,
                Part::Zeros(_) => buffer.fill(0),
                // `done` is below the length of a vector.
                Part::Bytes(bytes) => buffer.copy_from_slice(&bytes[self.done as usize..][..n]),
            }
            self.done += n as u64;
            return Ok(n);
        }
        Ok(0)
    }
}

/// What to change of a file; `None` where it is to stay as it is: nothing to take out, no program
/// or shared library, or laid out in a way that nothing can be said about.
pub fn plan<S: Source + ?Sized>(source: &S, symbols: bool) -> Result<Option<Edit>> {
    let Some(image) = Image::read(source)? else { return Ok(None) };
    if ![ET_DYN, ET_EXEC].contains(&image.header.e_type) {
        return Ok(None);
    }
    let mut changes = Changes { image, source, over: Vec::new(), unsearched: None };
    changes.search_path()?;
    let stripped = if symbols { changes.strip()? } else { None };
    Ok(changes.edit(stripped))
}

struct Changes<'a, S: ?Sized> {
    image: Image,
    source: &'a S,
    /// What stands in place of bytes of the file: offset, and bytes or a number of zeros.
    over: Vec<(u64, Part)>,
    unsearched: Option<String>,
}

/// Where the kept start of a file ends, and what stands behind it.
struct Tail {
    end: u64,
    parts: Vec<Part>,
}

impl<S: Source + ?Sized> Changes<'_, S> {
    /// Removes a RUNPATH of folders of the machine it was built on: who can make them there could
    /// have any library loaded. Those with `$ORIGIN` are how a wheel finds its own libraries.
    fn search_path(&mut self) -> Result<()> {
        let ctx = self.image.ctx;
        let Some(dynamic) = self.image.programs.iter().find(|p| p.p_type == PT_DYNAMIC) else {
            return Ok(());
        };
        let start = dynamic.p_offset;
        let mut table = bytes(self.source, start, dynamic.p_filesz)?;
        let size = Dyn::size_with(&ctx);
        let entries: Vec<Dyn> = table
            .chunks_exact(size)
            .filter_map(|entry| entry.pread_with::<Dyn>(0, ctx).ok())
            .take_while(|entry| entry.d_tag != DT_NULL)
            .collect();
        let value = |tag: u64| entries.iter().find(|e| e.d_tag == tag).map(|e| e.d_val);
        let (Some(at), Some(length)) = (value(DT_STRTAB), value(DT_STRSZ)) else { return Ok(()) };
        let strings = Names::new(self.source, offset(&self.image.programs, at)?, length)?;
        let path = entries.iter().position(|e| [DT_RPATH, DT_RUNPATH].contains(&e.d_tag));
        let Some((path, text)) = path.and_then(|at| Some((at, strings.text(entries[at].d_val)?)))
        else {
            return Ok(());
        };
        // The loader looks into the folders of libraries anyway (ld.so(8)): `/usr/lib` and, in Debian,
        // `/usr/lib/x86_64-linux-gnu`. Others in them are a package's own.
        let own = |folder: &str| {
            let inside = ["/usr/lib/", "/lib/"].iter().find_map(|lib| folder.strip_prefix(lib));
            inside.is_some_and(|name| !name.trim_end_matches('/').ends_with("-linux-gnu"))
        };
        let foreign = |folder: &str| folder.starts_with('/') && !own(folder);
        if text.is_empty() || !text.split(':').all(foreign) {
            return Ok(());
        }
        // The entries behind it move up, and the end mark once more.
        table.copy_within((path + 1) * size..(entries.len()) * size, path * size);
        table[(entries.len() - 1) * size..entries.len() * size].fill(0);
        self.over.push((start, Part::Bytes(table)));
        self.unsearched = Some(text);
        Ok(())
    }

    fn strip(&mut self) -> Result<Option<Tail>> {
        let Image { header, sections, names, programs, ctx } = &self.image;
        let total = self.source.len();
        let names = |section: &SectionHeader| string(names, section.sh_name as u64);
        let extra = sections.iter().map(|section| is_extra(section, &names(section), sections));
        let mut goes: Vec<bool> = extra.collect();
        // Some linkers keep the names of sections and of symbols in one table.
        let table = usize::from(header.e_shstrndx);
        goes[table] = false;
        if !goes.contains(&true) {
            return Ok(None);
        }
        let unclear = || Error::new("its parts overlap");
        let range = |at: u64, size: u64| Some(at..at.checked_add(size)?);
        // What the kernel and the loader look at.
        let mut fixed: Vec<Range<u64>> = range(0, header.e_ehsize.into()).into_iter().collect();
        let phdrs = u64::from(header.e_phnum) * u64::from(header.e_phentsize);
        fixed.extend(range(header.e_phoff, phdrs));
        for program in programs.iter().filter(|p| p.p_filesz > 0) {
            fixed.push(range(program.p_offset, program.p_filesz).ok_or_else(unclear)?);
        }
        let end = fixed.iter().map(|r| r.end).max().unwrap_or_default();
        let shdrs = u64::from(header.e_shnum) * u64::from(header.e_shentsize);
        let mut known = header.e_shoff.saturating_add(shdrs).max(end);
        for section in sections.iter().filter(|s| has_bytes(s)) {
            let section = range(section.sh_offset, section.sh_size).ok_or_else(unclear)?;
            known = known.max(section.end);
        }
        // Programs that carry an archive behind their own end look for it there; patchelf fills up
        // to a page with zeros. Where a section is outside the file nothing is certain.
        if known > total
            || total - known > PAGE
            || bytes(self.source, known, total - known)?.iter().any(|b| *b != 0)
        {
            return Ok(None);
        }
        let mut kept = fixed;
        let stays = || sections.iter().zip(&goes).filter(|(s, goes)| has_bytes(s) && !**goes);
        kept.extend(stays().map(|(s, _)| s.sh_offset..s.sh_offset + s.sh_size));
        for (section, _) in sections.iter().zip(&goes).filter(|(s, goes)| has_bytes(s) && **goes) {
            let hole = section.sh_offset..section.sh_offset + section.sh_size;
            let free = |r: &Range<u64>| r.end <= hole.start || hole.end <= r.start;
            if hole.start < end && hole.end <= end && kept.iter().all(free) {
                self.over.push((hole.start, Part::Zeros(hole.end - hole.start)));
            }
        }

        // Symbols tell their section by number, so those that are loaded keep theirs.
        let loaded = |s: &SectionHeader| s.sh_flags & u64::from(SHF_ALLOC) != 0;
        let last = sections.iter().rposition(loaded).unwrap_or(0);
        let mut number = vec![0u32; sections.len()];
        let mut new: Vec<SectionHeader> = Vec::new();
        for (at, section) in sections.iter().enumerate() {
            if !goes[at] {
                number[at] = new.len() as u32;
                new.push(section.clone());
            } else if at < last {
                new.push(SectionHeader { sh_type: SHT_NULL, ..SectionHeader::default() });
            }
        }
        let mut order: Vec<usize> = (0..new.len()).filter(|at| has_bytes(&new[*at])).collect();
        order.sort_by_key(|at| new[*at].sh_offset);
        let (mut tail, mut position) = (Tail { end, parts: Vec::new() }, end);
        let align = |tail: &mut Tail, position: &mut u64, to: u64| {
            let gap = position.next_multiple_of(to.max(1)) - *position;
            tail.parts.push(Part::Zeros(gap));
            *position += gap;
        };
        let (strings, places) = string_table(&new, names);
        let table = number[table] as usize;
        for at in order {
            let section = &mut new[at];
            let bytes = section.sh_offset..section.sh_offset + section.sh_size;
            if bytes.end <= end && at != table {
                continue;
            }
            if bytes.start < end && at != table {
                return Ok(None);
            }
            if section.sh_addralign > PAGE {
                return Ok(None);
            }
            align(&mut tail, &mut position, section.sh_addralign);
            section.sh_offset = position;
            if at == table {
                section.sh_size = strings.len() as u64;
                tail.parts.push(Part::Bytes(strings.clone()));
            } else {
                tail.parts.push(Part::Copy(bytes));
            }
            position += section.sh_size;
        }
        // Headers are read in words.
        align(&mut tail, &mut position, 8);
        let mut headers = Vec::new();
        for (section, place) in new.iter_mut().zip(places) {
            section.sh_name = place;
            section.sh_link = number.get(section.sh_link as usize).copied().unwrap_or(0);
            // SHF_INFO_LINK of the System V ABI: `sh_info` is a section, too.
            if section.sh_flags & 0x40 != 0 || [SHT_REL, SHT_RELA].contains(&section.sh_type) {
                section.sh_info = number.get(section.sh_info as usize).copied().unwrap_or(0);
            }
            let mut entry = vec![0; header.e_shentsize.into()];
            entry.pwrite_with(section.clone(), 0, *ctx)?;
            headers.extend(entry);
        }
        tail.parts.push(Part::Bytes(headers));
        self.write_header(position, new.len(), table)?;
        Ok(Some(tail))
    }

    /// Where the section headers are, how many, and which has their names.
    fn write_header(&mut self, at: u64, number: usize, names: usize) -> Result<()> {
        let Image { header, ctx, .. } = &self.image;
        let mut bytes = bytes(self.source, 0, u64::from(header.e_ehsize))?;
        let le = ctx.le;
        // Their places in Elf64_Ehdr and Elf32_Ehdr.
        let (shoff, shnum, shstrndx) = match ctx.container {
            Container::Big => (0x28, 0x3c, 0x3e),
            Container::Little => (0x20, 0x30, 0x32),
        };
        match ctx.container {
            Container::Big => bytes.pwrite_with(at, shoff, le)?,
            Container::Little => bytes.pwrite_with(u32::try_from(at)?, shoff, le)?,
        };
        bytes.pwrite_with(u16::try_from(number)?, shnum, le)?;
        bytes.pwrite_with(u16::try_from(names)?, shstrndx, le)?;
        self.over.push((0, Part::Bytes(bytes)));
        Ok(())
    }

    fn edit(self, tail: Option<Tail>) -> Option<Edit> {
        let total = self.source.len();
        let tail = tail.unwrap_or(Tail { end: total, parts: Vec::new() });
        let mut over = self.over;
        if over.is_empty() {
            return None;
        }
        over.sort_by_key(|(at, _)| *at);
        let mut edit = Edit { unsearched: self.unsearched, ..Edit::default() };
        let (mut position, mut zeroed) = (0, 0);
        for (at, part) in over {
            // Two changes of one place: no file that a linker wrote.
            let end = at + part.len();
            if at < position || end > tail.end {
                return None;
            }
            if matches!(part, Part::Zeros(_)) {
                zeroed += part.len();
            }
            edit.parts.push(Part::Copy(position..at));
            edit.parts.push(part);
            position = end;
        }
        edit.parts.push(Part::Copy(position..tail.end));
        edit.parts.extend(tail.parts);
        edit.size = edit.parts.iter().map(Part::len).sum();
        edit.saved = (total + zeroed).saturating_sub(edit.size);
        Some(edit)
    }
}

fn has_bytes(section: &SectionHeader) -> bool {
    ![SHT_NULL, SHT_NOBITS].contains(&section.sh_type) && section.sh_size > 0
}

/// What a running program has no use for: what strip(1) takes with `--strip-unneeded`, and the
/// compiler's version, as dh_strip(1) does.
fn is_extra(section: &SectionHeader, name: &Option<String>, all: &[SectionHeader]) -> bool {
    if section.sh_flags & u64::from(SHF_ALLOC) != 0 {
        return false;
    }
    let symbols = |s: &SectionHeader| [SHT_SYMTAB, SHT_SYMTAB_SHNDX].contains(&s.sh_type);
    let name = name.as_deref().unwrap_or_default();
    let debug = [".debug", ".zdebug", ".gnu.debuglto_", ".stab", ".line"];
    match section.sh_type {
        SHT_SYMTAB | SHT_SYMTAB_SHNDX => true,
        // Relocations that were kept for a tool between linker and loader.
        SHT_REL | SHT_RELA => true,
        SHT_STRTAB => {
            let users = || {
                all.iter().filter(|s| {
                    all.get(s.sh_link as usize).is_some_and(|linked| std::ptr::eq(linked, section))
                })
            };
            users().count() > 0 && users().all(symbols)
        }
        _ => name == ".comment" || debug.iter().any(|start| name.starts_with(start)),
    }
}

/// The names of the sections, and where in it each one's is.
fn string_table(
    sections: &[SectionHeader],
    name: impl Fn(&SectionHeader) -> Option<String>,
) -> (Vec<u8>, Vec<usize>) {
    let mut table = vec![0];
    let places = sections.iter().map(|section| {
        let name = name(section).filter(|_| section.sh_type != SHT_NULL).unwrap_or_default();
        if name.is_empty() {
            return 0;
        }
        let at = table.len();
        table.extend(name.as_bytes());
        table.push(0);
        at
    });
    let places = places.collect();
    (table, places)
}

impl Image {
    /// Reads the tables; `None` where there are no sections, or more than their fields can tell.
    fn read<S: Source + ?Sized>(source: &S) -> Result<Option<Self>> {
        let (header, ctx) = super::header_of(source)?;
        let (shnum, size) = (header.e_shnum, SectionHeader::size_with(&ctx));
        // From SHN_LORESERVE on the numbers stand elsewhere.
        if shnum == 0 || shnum >= 0xff00 || usize::from(header.e_shentsize) != size {
            return Ok(None);
        }
        let table = |at: u64, number: u16, size: u16| {
            bytes(source, at, u64::from(number) * u64::from(size))
        };
        let shdrs = table(header.e_shoff, shnum, header.e_shentsize)?;
        let sections: Vec<SectionHeader> =
            shdrs.chunks_exact(size).filter_map(|s| s.pread_with(0, ctx).ok()).collect();
        let phdrs = table(header.e_phoff, header.e_phnum, header.e_phentsize)?;
        let programs = ProgramHeader::parse(&phdrs, 0, header.e_phnum.into(), ctx)?;
        let names = sections.get(usize::from(header.e_shstrndx));
        let names = names.filter(|names| has_bytes(names) && names.sh_type == SHT_STRTAB);
        let Some(names) = names else { return Ok(None) };
        let names = bytes(source, names.sh_offset, names.sh_size)?;
        Ok(Some(Image { header, sections, names, programs, ctx }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    fn run(program: &str, args: &[&str]) -> String {
        let output = Command::new(program).args(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "{program} {args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Compiles a library that says 42, with all that a compiler leaves behind.
    fn library(dir: &Path, options: &[&str]) -> PathBuf {
        let source = dir.join("x.c");
        bk::file::write(
            &source,
            "static int hidden(void) { return 42; } int answer(void) { return hidden(); }",
        )
        .unwrap();
        let path = dir.join("libx.so");
        let (source, out) = (source.to_str().unwrap(), path.to_str().unwrap());
        run(
            "gcc",
            &[
                &["-shared", "-fPIC", "-g3", "-O0", "-Wl,-soname,libx.so", source, "-o", out],
                options,
            ]
            .concat(),
        );
        path
    }

    fn edited(bytes: &[u8]) -> Option<(Vec<u8>, Edit)> {
        let edit = plan(bytes, true).unwrap()?;
        let mut out = Vec::new();
        edit.reader(bytes).read_to_end(&mut out).unwrap();
        assert_eq!(out.len() as u64, edit.size);
        Some((out, edit))
    }

    fn answer(library: &Path) -> String {
        let script = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).answer())";
        run("python3", &["-c", script, library.to_str().unwrap()]).trim().to_owned()
    }

    #[test]
    fn what_is_stripped_is_what_strip_takes_and_it_still_runs() {
        let dir = tempfile::tempdir().unwrap();
        for options in
            [&[][..], &["-Wl,--emit-relocs"], &["-Wl,-z,separate-code,-z,max-page-size=65536"]]
        {
            let path = library(dir.path(), options);
            let (out, edit) = edited(&std::fs::read(&path).unwrap()).unwrap();
            assert!(edit.saved > 0);
            let ours = dir.path().join("ours.so");
            bk::file::write(&ours, &out).unwrap();
            let theirs = dir.path().join("theirs.so");
            let theirs = theirs.to_str().unwrap();
            run(
                "strip",
                &["--strip-unneeded", "-R", ".comment", "-o", theirs, path.to_str().unwrap()],
            );
            let names = |path: &str| {
                let text = run("readelf", &["--section-headers", "--wide", path]);
                let rows = text.lines().filter_map(|line| line.trim().strip_prefix('['));
                let names = rows.filter_map(|row| row.split(']').nth(1)?.split_whitespace().next());
                let mut names: Vec<String> =
                    names.filter(|name| name.starts_with('.')).map(str::to_owned).collect();
                // strip(1) keeps relocations that a linker was told to keep, and what they refer to.
                let relocation = |name: &str| {
                    name.starts_with(".rela.") && ![".rela.dyn", ".rela.plt"].contains(&name)
                };
                let symbols = |name: &str| [".symtab", ".strtab"].contains(&name);
                if names.iter().any(|name| relocation(name)) {
                    names.retain(|name| !relocation(name) && !symbols(name));
                }
                names.sort();
                names
            };
            let ours = ours.to_str().unwrap();
            assert_eq!(names(ours), names(theirs), "{options:?}");
            // readelf complains on stderr about what is not well formed.
            run("readelf", &["--all", "--wide", ours]);
            run("objdump", &["--all-headers", ours]);
            assert_eq!(
                run("objdump", &["-T", ours]).lines().skip(2).collect::<Vec<_>>(),
                run("objdump", &["-T", theirs]).lines().skip(2).collect::<Vec<_>>()
            );
            assert_eq!(answer(Path::new(ours)), "42");
            assert!(edited(&out).is_none(), "there is nothing left to take");
        }
    }

    #[test]
    fn a_file_with_something_behind_its_end_stays_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = std::fs::read(library(dir.path(), &[])).unwrap();
        bytes.extend_from_slice(b"PK an archive the program looks for");
        assert!(edited(&bytes).is_none());
    }

    #[test]
    fn search_paths_of_the_build_machine_go_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        for (path, gone) in [
            ("/opt/_internal/lib", true),
            ("$ORIGIN/../x.libs", false),
            ("/usr/lib/x", false),
            ("/usr/lib/x86_64-linux-gnu", true),
            ("/usr/lib/x86_64-linux-gnu/x", false),
        ] {
            let option = format!("-Wl,-rpath,{path}");
            let bytes = std::fs::read(library(dir.path(), &[&option])).unwrap();
            let edit = plan(&bytes[..], false).unwrap();
            assert_eq!(edit.as_ref().and_then(|e| e.unsearched.as_deref()), gone.then_some(path));
            let Some((out, _)) = edited(&bytes) else { continue };
            let ours = dir.path().join("ours.so");
            bk::file::write(&ours, out).unwrap();
            let dynamic = run("readelf", &["--dynamic", "--wide", ours.to_str().unwrap()]);
            assert_eq!(dynamic.contains(path), !gone, "{dynamic}");
            assert!(dynamic.contains("[libx.so]"), "{dynamic}");
            assert_eq!(answer(&ours), "42");
        }
    }

    #[test]
    fn damage_is_refused_or_survived() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = std::fs::read(library(dir.path(), &[])).unwrap();
        for at in (0..bytes.len()).step_by(7) {
            let mut bad = bytes.clone();
            bad[at] = !bad[at];
            if let Ok(Some(edit)) = plan(&bad[..], true) {
                edit.reader(&bad[..]).read_to_end(&mut Vec::new()).unwrap();
            }
            drop(plan(&bytes[..at], true));
        }
    }
}

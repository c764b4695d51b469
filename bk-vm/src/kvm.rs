//! Whether this machine's KVM runs guests at the speed of its processor.
//!
//! /dev/kvm can be opened, and makes machines, where it only interprets them: inside of another
//! machine whose host gives no nested virtualisation. What is asked here is a guest, and its time.

use std::path::Path;
use std::time::{Duration, Instant};

use bk::{Error, Result};

/// Debian's API of KVM since 2007 (Linux, api.rst, KVM_GET_API_VERSION).
const API: i32 = 12;

/// Turns of the timed loop, of two instructions each: 20 µs of a real processor, 0.2 s of an interpreter
/// of 0.1 million instructions a second.
const TURNS: u32 = 10_000;

/// Million instructions a second that are believed. Processors do more than 1000, interpreters 0.1, and
/// the entry into the guest costs some 10 µs.
const ENOUGH: f64 = 20.0;

/// A guest that has not come to its end by then runs on no processor.
const LIMIT: Duration = Duration::from_secs(5);

/// What was found out.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Whether machines should use it.
    pub good: bool,
    /// Why, for people.
    pub reason: String,
    /// Million instructions a second, where a guest ran.
    pub speed: Option<f64>,
}

impl Verdict {
    fn no(reason: impl Into<String>) -> Self {
        Verdict { good: false, reason: reason.into(), speed: None }
    }
}

/// Opens it, and runs a guest of some 20,000 instructions.
pub fn probe() -> Verdict {
    let device = Path::new("/dev/kvm");
    if !device.exists() {
        return Verdict::no("there is no /dev/kvm");
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    // A guest may never come back: the thread is left behind then, and ends with the program.
    std::thread::spawn(move || sender.send(guest::time(TURNS)));
    let time = match receiver.recv_timeout(LIMIT) {
        Ok(Ok(time)) => time,
        Ok(Err(error)) => return Verdict::no(error.to_string()),
        Err(_) => return Verdict::no(format!("a small guest did not end in {LIMIT:?}")),
    };
    judge(time)
}

/// What the time of the guest says.
fn judge(time: Duration) -> Verdict {
    // In millions a second, or one a microsecond.
    let speed = f64::from(TURNS * 2) / time.as_micros().max(1) as f64;
    let good = speed >= ENOUGH;
    let reason = match good {
        true => format!("a guest ran {speed:.0} million instructions a second"),
        false => format!(
            "a guest ran {speed:.2} million instructions a second: it is interpreted, and slower than \
             emulation"
        ),
    };
    Verdict { good, reason, speed: Some(speed) }
}

#[cfg(not(target_arch = "x86_64"))]
mod guest {
    use super::*;

    /// The loop is written for one kind of processor.
    pub(super) fn time(_turns: u32) -> Result<Duration> {
        Err(Error::new("no guest is known that could be timed on this kind of processor"))
    }
}

#[cfg(target_arch = "x86_64")]
mod guest {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    use super::*;

    /// The numbers of the ioctls, and the sizes that are part of them (linux/kvm.h).
    const GET_API_VERSION: u64 = 0xae00;
    const CREATE_VM: u64 = 0xae01;
    const GET_VCPU_MMAP_SIZE: u64 = 0xae04;
    const CREATE_VCPU: u64 = 0xae41;
    const SET_USER_MEMORY_REGION: u64 = 0x4020_ae46;
    const RUN: u64 = 0xae80;
    const SET_REGS: u64 = 0x4090_ae82;
    const GET_SREGS: u64 = 0x8138_ae83;
    const SET_SREGS: u64 = 0x4138_ae84;

    /// `struct kvm_regs` has 18 words; the instruction pointer and the flags are the last.
    const REGS: usize = 18;
    const RIP: usize = 16;
    const RFLAGS: usize = 17;
    /// `struct kvm_sregs`: the code segment comes first, its base in the first 8 bytes, its selector
    /// behind base and limit.
    const SREGS: usize = 0x138;
    const SELECTOR: std::ops::Range<usize> = 12..14;
    /// `struct kvm_run`: where the reason of the exit is, and the reason `KVM_EXIT_HLT`.
    const EXIT_REASON: usize = 8;
    const HLT: u32 = 5;

    /// The smallest memory there is, and the place of it.
    const PAGE: usize = 4096;
    const PLACE: u64 = 0x1000;

    /// Memory that is given back when it is no more used.
    struct Mapping {
        start: *mut libc::c_void,
        size: usize,
    }

    impl Mapping {
        #[allow(unsafe_code)]
        fn new(size: usize, flags: i32, fd: i32) -> Result<Self> {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: the kernel chooses the place, so that no memory in use is replaced; the result is
            // checked before it is used.
            let start = unsafe { libc::mmap(std::ptr::null_mut(), size, access, flags, fd, 0) };
            match start == libc::MAP_FAILED {
                true => {
                    Err(Error::from(std::io::Error::last_os_error())
                        .context("no memory for a guest"))
                }
                false => Ok(Mapping { start, size }),
            }
        }
    }

    impl Drop for Mapping {
        #[allow(unsafe_code)]
        fn drop(&mut self) {
            // SAFETY: it is what mmap returned, with its size, and nothing refers to it any more.
            unsafe { libc::munmap(self.start, self.size) };
        }
    }

    /// `struct kvm_userspace_memory_region`
    #[repr(C)]
    struct Region {
        slot: u32,
        flags: u32,
        guest: u64,
        size: u64,
        address: u64,
    }

    /// An ioctl with a number as its argument.
    #[allow(unsafe_code)]
    fn plain(fd: &impl AsRawFd, request: u64, argument: u64, what: &str) -> Result<i32> {
        // SAFETY: the requests this is called with take a number or nothing, and touch no memory of ours.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, argument) };
        checked(result, what)
    }

    /// An ioctl that reads or writes `value`.
    #[allow(unsafe_code)]
    fn with<T>(fd: &impl AsRawFd, request: u64, value: &mut T, what: &str) -> Result<i32> {
        debug_assert_eq!((request >> 16) & 0x3fff, size_of::<T>() as u64);
        // SAFETY: the size of what the kernel reads or writes is a part of each request's number, and is
        // the size of T, which is plain numbers that may have any value.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(value)) };
        checked(result, what)
    }

    fn checked(result: i32, what: &str) -> Result<i32> {
        match result {
            0.. => Ok(result),
            _ => Err(Error::from(std::io::Error::last_os_error()).context(format!("KVM: {what}"))),
        }
    }

    #[allow(unsafe_code)]
    fn owned(fd: i32) -> OwnedFd {
        // SAFETY: KVM has made it for us, and nobody else has it.
        unsafe { OwnedFd::from_raw_fd(fd) }
    }

    /// How long a guest takes to count down from `turns`.
    pub(super) fn time(turns: u32) -> Result<Duration> {
        let kvm = std::fs::File::options().read(true).write(true).open("/dev/kvm");
        let kvm = kvm.map_err(|e| Error::from(e).context("cannot open '/dev/kvm'"))?;
        let api = plain(&kvm, GET_API_VERSION, 0, "its version")?;
        if api != API {
            return Err(Error::new(format!("KVM has version {api}, not {API}")));
        }
        let vm = owned(plain(&kvm, CREATE_VM, 0, "a machine")?);
        let shared = libc::MAP_SHARED;
        let memory = Mapping::new(PAGE, shared | libc::MAP_ANONYMOUS, -1)?;
        // mov ecx, TURNS; dec ecx; jnz -4; hlt, in the 16 bits a processor starts with
        let mut code = vec![0x66, 0xb9];
        code.extend(turns.to_le_bytes());
        code.extend([0x66, 0x49, 0x75, 0xfc, 0xf4]);
        store(&memory, &code);
        let mut region = Region {
            slot: 0,
            flags: 0,
            guest: PLACE,
            size: PAGE as u64,
            address: memory.start as u64,
        };
        with(&vm, SET_USER_MEMORY_REGION, &mut region, "memory")?;
        let cpu = owned(plain(&vm, CREATE_VCPU, 0, "a processor")?);
        let size = plain(&kvm, GET_VCPU_MMAP_SIZE, 0, "the size of a processor")?;
        let run = Mapping::new(usize::try_from(size)?, shared, cpu.as_raw_fd())?;

        let mut sregs = [0u8; SREGS];
        with(&cpu, GET_SREGS, &mut sregs, "registers")?;
        // The code segment begins at 0.
        sregs[..8].fill(0);
        sregs[SELECTOR].fill(0);
        with(&cpu, SET_SREGS, &mut sregs, "registers")?;
        let mut regs = [0u64; REGS];
        regs[RIP] = PLACE;
        // The bit that is always set (Intel SDM 1, 3.4.3).
        regs[RFLAGS] = 2;
        with(&cpu, SET_REGS, &mut regs, "registers")?;

        let start = Instant::now();
        plain(&cpu, RUN, 0, "a run")?;
        let time = start.elapsed();
        match exit_reason(&run) {
            HLT => Ok(time),
            reason => {
                Err(Error::new(format!("a guest ended with reason {reason}, not at its end")))
            }
        }
    }

    #[allow(unsafe_code)]
    fn store(memory: &Mapping, code: &[u8]) {
        let n = code.len().min(memory.size);
        // SAFETY: the mapping is writable, has at least `n` bytes, is not the slice, and no guest runs.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), memory.start.cast(), n) };
    }

    #[allow(unsafe_code)]
    fn exit_reason(run: &Mapping) -> u32 {
        if run.size < EXIT_REASON + 4 {
            return 0;
        }
        // SAFETY: the mapping has these four bytes, at an address that is a multiple of four, and no
        // processor runs that would change them.
        unsafe { run.start.cast::<u8>().add(EXIT_REASON).cast::<u32>().read() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_decides() {
        // 20 µs for 20,000 instructions are 1000 million a second.
        assert!(judge(Duration::from_micros(20)).good);
        assert!(judge(Duration::from_micros(500)).good);
        let slow = judge(Duration::from_millis(200));
        assert!(!slow.good && slow.reason.contains("0.10 million"), "{}", slow.reason);
    }
}

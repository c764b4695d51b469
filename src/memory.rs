//! What the C library keeps of the memory that was used.

/// Gives memory that is free back to the system: else the C library keeps what a crowd took.
#[allow(unsafe_code)]
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) is safe to call from any thread at any time.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Lets all threads share two heaps, rather than have one each: a short-lived thread's heap is kept as
/// large as it was at most. For programs whose threads compute more than they allocate.
#[allow(unsafe_code)]
pub fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) with a parameter of its own may be called at any time.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2)
    };
}

//! `bk-vm start` by the name it had in 2011.

fn main() -> std::process::ExitCode {
    bk_vm::cli::become_command("start")
}

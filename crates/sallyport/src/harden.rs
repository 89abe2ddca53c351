//! Leaves no trace of secrets in a crash.
//!
//! Promise: no core file is written, and no other process of the same user may read the memory; where the system does
//! not let that be set, or does not keep it, the process does not start.

use anyhow::{Context, Result, ensure};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Makes the process not dumpable, and reads back that it is.
///
/// # Errors
/// When it cannot be set, or does not hold.
pub(crate) fn harden() -> Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .context("cannot set the core limit to 0: memory with secrets could be written to a core file")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .context("cannot make the process not dumpable: others of the same user could read its memory")?;
    let limit = getrlimit(Resource::Core);
    ensure!(
        limit.current == Some(0) && limit.maximum == Some(0),
        "the core limit was set to 0 and is not: the system does not keep it, so the gate does not start"
    );
    // With it a handler of core files (kernel.core_pattern with `|`) is not called either, and only a process with
    // CAP_SYS_PTRACE can attach.
    let behavior = dumpable_behavior().context("cannot read back whether the process is dumpable")?;
    ensure!(
        behavior == DumpableBehavior::NotDumpable,
        "the process was made not dumpable and is dumpable: the system does not keep it, so the gate does not start"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read_back() {
        harden().expect("this system keeps it");
        assert_eq!(dumpable_behavior().expect("readable"), DumpableBehavior::NotDumpable);
    }
}

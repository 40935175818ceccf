//! The module of this process. A child of `fork` has none until it initializes its own.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use cryptoki_sys::*;
use rustix::process::{Pid, getpid};

use crate::module::Module;
use crate::rv::{Result, Rv, fail};

/// What belongs to one process. It is never freed, since a thread may be in it at any time; there
/// is one for each process that initializes the module, of a few words.
struct Process {
    pid: Pid,
    module: Mutex<Option<Arc<Module>>>,
}

static CURRENT: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

/// The module, if this very process has initialized it.
pub(super) fn module() -> Result<Arc<Module>> {
    let module = current().and_then(|process| process.module().clone());
    module.ok_or(Rv(CKR_CRYPTOKI_NOT_INITIALIZED))
}

pub(super) fn initialize() -> Result<()> {
    let process = current().unwrap_or_else(begin);
    let mut module = process.module();
    if module.is_some() {
        return fail(CKR_CRYPTOKI_ALREADY_INITIALIZED);
    }
    *module = Some(Arc::new(Module::new()));
    Ok(())
}

pub(super) fn finalize() -> Result<()> {
    let taken = current().and_then(|process| process.module().take());
    taken.map(drop).ok_or(Rv(CKR_CRYPTOKI_NOT_INITIALIZED))
}

impl Process {
    fn module(&self) -> MutexGuard<'_, Option<Arc<Module>>> {
        self.module.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn current() -> Option<&'static Process> {
    // SAFETY: what stands there was put there by `begin` and is never freed.
    let process = unsafe { CURRENT.load(Ordering::Acquire).as_ref() };
    process.filter(|process| process.pid == getpid())
}

/// A place for this process, in that of its parent's. The parent's lock may have been held by a
/// thread that does not exist here, so it is not waited for; where it is free, the copies of the
/// parent's connections are closed, which says nothing to the other end.
fn begin() -> &'static Process {
    let process = Process { pid: getpid(), module: Mutex::default() };
    let process: &'static mut Process = Box::leak(Box::new(process));
    let old = CURRENT.swap(process, Ordering::AcqRel);
    // SAFETY: as in `current`.
    if let Some(old) = unsafe { old.as_ref() }
        && old.pid != getpid()
    {
        match old.module.try_lock() {
            Ok(mut module) => drop(module.take()),
            Err(TryLockError::Poisoned(module)) => drop(module.into_inner().take()),
            Err(TryLockError::WouldBlock) => {}
        }
    }
    current().unwrap_or_else(begin)
}

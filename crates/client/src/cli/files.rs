//! Files that are read and written.

use std::io::{Read as _, Write as _};
use std::path::Path;

use crate::failure::Failure;

/// The longest file that is read, bytes: what is longer is no message and no receipt.
const LEN_MAX: u64 = 16 * 1024 * 1024;

/// A whole file; `-` is standard input.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().take(LEN_MAX + 1).read_to_end(&mut bytes),
        false => std::fs::File::open(file)
            .and_then(|open| open.take(LEN_MAX + 1).read_to_end(&mut bytes)),
    };
    match read {
        Ok(length) if length as u64 <= LEN_MAX => Ok(bytes),
        Ok(_) => Err(Failure::file(file, "more than 16 MiB")),
        Err(error) => Err(Failure::file(file, error)),
    }
}

/// Writes a file anew, so that nobody finds half of it: beside its place first.
pub(crate) fn write(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::file(file, error);
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let beside = Path::new(&name);
    let mut open = std::fs::File::create(beside).map_err(failed)?;
    open.write_all(bytes).and_then(|()| open.sync_all()).map_err(failed)?;
    std::fs::rename(beside, file).map_err(failed)
}

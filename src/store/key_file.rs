//! The file of the key that wraps everybody's keys: 64 hexadecimal digits, beside the database or where the operator says.
//!
//! It never lies in the database, so that a copy of that, or of its log, can be read by nobody. The one beside the database
//! is made at the first start, complete and synced before it has its name: of two processes that start at once, both use
//! the one that was first. One that the operator names is never made, since a wrong path would then pass as a new key.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::fault::{KeyMistake, OpenError};
use super::seal::KEY_BYTES;

const NAME: &str = "gateway.key";
/// The digits, and a line's end or two.
const LONGEST: u64 = 2 * KEY_BYTES as u64 + 2;

/// Where the key of a store is.
pub(super) struct KeyFile {
    pub path: PathBuf,
    /// Whether it may be made.
    pub own: bool,
}

impl KeyFile {
    pub(super) fn of(dir: &Path, named: Option<&Path>) -> Self {
        match named {
            Some(path) => Self { path: path.to_owned(), own: false },
            None => Self { path: dir.join(NAME), own: true },
        }
    }

    pub(super) fn mistaken(&self, mistake: KeyMistake) -> OpenError {
        OpenError::Key { path: self.path.clone(), mistake }
    }

    /// None where there is no such file.
    pub(super) fn read(&self) -> Result<Option<[u8; KEY_BYTES]>, OpenError> {
        let mut text = String::new();
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened,
        };
        let read = file.and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(self.mistaken(KeyMistake::Malformed));
            }
            Err(error) => return Err(self.mistaken(KeyMistake::Unreadable(error))),
        }
        parse(text.trim_end()).map(Some).ok_or_else(|| self.mistaken(KeyMistake::Malformed))
    }

    /// Reads it, or makes it where that is ours to do.
    pub(super) fn read_or_make(&self) -> Result<[u8; KEY_BYTES], OpenError> {
        if let Some(key) = self.read()? {
            return Ok(key);
        }
        if !self.own {
            return Err(self.mistaken(KeyMistake::Missing));
        }
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(|_| self.mistaken(KeyMistake::Unreadable(io::ErrorKind::Other.into())))?;
        self.place(&key).map_err(|error| self.mistaken(KeyMistake::Unreadable(error)))?;
        self.read()?.ok_or_else(|| self.mistaken(KeyMistake::Missing))
    }

    /// Puts a key there, unless there is one.
    pub(super) fn place(&self, key: &[u8; KEY_BYTES]) -> io::Result<()> {
        let new = self.path.with_extension(format!("new.{}", std::process::id()));
        let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(format!("{digits}\n").as_bytes())?;
        file.sync_all()?;
        // Unlike renaming, linking never puts one key in the place of another.
        let linked = match std::fs::hard_link(&new, &self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        };
        std::fs::remove_file(&new)?;
        linked?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn parse(text: &str) -> Option<[u8; KEY_BYTES]> {
    if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; KEY_BYTES];
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().as_chunks::<2>().0) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_own_file_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::of(dir.path(), None);
        assert!(file.read().unwrap().is_none());
        let key = file.read_or_make().unwrap();
        assert_eq!(file.read_or_make().unwrap(), key);
        assert_eq!(std::fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o600);
        // Whoever comes second keeps what is there, and leaves nothing behind.
        file.place(&[7; KEY_BYTES]).unwrap();
        assert_eq!(file.read().unwrap(), Some(key));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_named_file_is_never_made() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::of(dir.path(), Some(&dir.path().join("mounted")));
        let mistake = |file: &KeyFile| file.read_or_make().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(mistake(&file).contains("not there"), "{}", mistake(&file));
        for text in ["", "00", &"g".repeat(64), &"0".repeat(63), &"0".repeat(65), "+1".repeat(32).as_str(), "\u{e9}"] {
            std::fs::write(&file.path, text).unwrap();
            assert!(mistake(&file).contains("64 hexadecimal digits"), "{text}: {}", mistake(&file));
        }
        std::fs::write(&file.path, [0xff, 0xfe]).unwrap();
        assert!(mistake(&file).contains("64 hexadecimal digits"));
        std::fs::write(&file.path, format!("{}\r\n", "aB".repeat(32))).unwrap();
        assert_eq!(file.read_or_make().unwrap(), [0xab; KEY_BYTES]);
    }
}

//! Where the lines of a large file begin, so that one can be read without those before it. The index
//! is kept beside the file as `NAME.index` and made anew when the file is not what it was.

use crate::lines::{Line, is_blank, next_line};
use std::fs::Metadata;
use std::io::{BufReader, Result};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes from which on an index is kept. To read 4 MiB takes a few milliseconds.
const KEPT_FROM: u64 = 4 << 20;
/// Nanoseconds after a change from which on an index of it is kept.
const SETTLED: u64 = 3_000_000_000;
const MAGIC: &[u8; 8] = b"lines 1\n";
const CHECKSUM: usize = blake3::OUT_LEN;

/// The lines of a file that are not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineIndex {
    /// Where each begins, and its number in the file, counted from 1.
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) line: u64,
}

impl LineIndex {
    /// The index of a file: the one that is kept, if it is of what the file is now, or else a new
    /// one.
    ///
    /// # Errors
    /// When the file cannot be read. An index that cannot be read or kept is no error.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path)?;
        let metadata = file.metadata()?;
        let place = place_of(path);
        if metadata.len() < KEPT_FROM {
            return Self::made_from(file);
        }
        let stamp = Stamp::of(&metadata);
        if let Some(kept) = std::fs::read(&place).ok().and_then(|bytes| stamp.index_in(&bytes)) {
            return Ok(kept);
        }
        let made = Self::made_from(file)?;
        if stamp.is_settled() {
            // who may only read makes it again each time
            let _ = paretopo_durable::write_atomically(&place, &stamp.to_bytes(&made));
        }
        Ok(made)
    }

    fn made_from(file: std::fs::File) -> Result<Self> {
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let (mut entries, mut buffer) = (Vec::new(), Vec::new());
        let (mut offset, mut line) = (0, 0);
        loop {
            let (taken, found) = next_line(&mut reader, &mut buffer)?;
            if taken == 0 {
                return Ok(Self { entries });
            }
            line += 1;
            if matches!(found, Line::TooLong) || !is_blank(&buffer) {
                entries.push(Entry { offset, line });
            }
            offset += taken;
        }
    }
}

fn place_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".index");
    name.into()
}

/// What tells one state of a file from another: its length and when it was changed, in nanoseconds
/// since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stamp {
    length: u64,
    changed: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let changed = since.map_or(0, |since| since.as_nanos() as u64);
        Self { length: metadata.len(), changed }
    }

    /// Whether a change from now on would have another time. Clocks of file systems tick in
    /// milliseconds to two seconds.
    fn is_settled(self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.is_ok_and(|now| now.as_nanos() as u64 > self.changed.saturating_add(SETTLED))
    }

    /// Magic, length, time, pairs of offset and line, checksum of all before it; little-endian.
    fn to_bytes(self, index: &LineIndex) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let pairs = index.entries.iter().flat_map(|entry| [entry.offset, entry.line]);
        for number in [self.length, self.changed].into_iter().chain(pairs) {
            bytes.extend(number.to_le_bytes());
        }
        let sum = *blake3::hash(&bytes).as_bytes();
        bytes.extend(sum);
        bytes
    }

    /// The index, if it is whole and of this state of the file.
    fn index_in(self, bytes: &[u8]) -> Option<LineIndex> {
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
        let (words, rest) = body.strip_prefix(MAGIC)?.as_chunks::<8>();
        let mut numbers = words.iter().map(|word| u64::from_le_bytes(*word));
        let stamp = Self { length: numbers.next()?, changed: numbers.next()? };
        let is_whole = rest.is_empty() && blake3::hash(body).as_bytes() == sum;
        if !is_whole || stamp != self || self.changed == 0 {
            return None;
        }
        let mut entries = Vec::with_capacity(words.len() / 2);
        while let (Some(offset), Some(line)) = (numbers.next(), numbers.next()) {
            entries.push(Entry { offset, line });
        }
        Some(LineIndex { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_another_state_or_with_another_byte_is_not_taken() {
        let entries = vec![Entry { offset: 0, line: 1 }, Entry { offset: 9, line: 3 }];
        let index = LineIndex { entries };
        let stamp = Stamp { length: 12, changed: 77 };
        let bytes = stamp.to_bytes(&index);
        assert_eq!(stamp.index_in(&bytes), Some(index));
        assert_eq!(Stamp { length: 13, ..stamp }.index_in(&bytes), None);
        assert_eq!(Stamp { changed: 78, ..stamp }.index_in(&bytes), None);
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert_eq!(stamp.index_in(&damaged), None, "byte {place}");
            assert_eq!(stamp.index_in(&bytes[..place]), None, "{place} bytes");
        }
    }

    /// As if the file had been changed a minute ago.
    fn settle(path: &Path) {
        let file = std::fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - std::time::Duration::from_secs(60)).unwrap();
    }

    #[test]
    fn large_files_keep_their_index_and_small_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.jsonl");
        std::fs::write(&path, "a\n\nb").unwrap();
        let small = LineIndex::of(&path).unwrap();
        assert_eq!(small.entries, [Entry { offset: 0, line: 1 }, Entry { offset: 3, line: 3 }]);
        assert!(!place_of(&path).exists());
        // 5 lines of 1 MiB
        let line = format!("{}\n", "x".repeat((1 << 20) - 1));
        std::fs::write(&path, line.repeat(5)).unwrap();
        let large = LineIndex::of(&path).unwrap();
        assert!(!place_of(&path).exists(), "it was changed just now, and may be once more");
        settle(&path);
        assert_eq!(LineIndex::of(&path).unwrap(), large);
        assert_eq!(large.entries[4], Entry { offset: 4 << 20, line: 5 });
        let kept = std::fs::read(place_of(&path)).unwrap();
        assert_eq!(LineIndex::of(&path).unwrap(), large);
        // what is kept is what is read: an index that says otherwise, of this very state
        let stamp = Stamp::of(&std::fs::metadata(&path).unwrap());
        let other = LineIndex { entries: large.entries[..2].to_vec() };
        std::fs::write(place_of(&path), stamp.to_bytes(&other)).unwrap();
        assert_eq!(LineIndex::of(&path).unwrap(), other);
        // of a file that grew it is made anew
        std::fs::write(&path, line.repeat(6)).unwrap();
        settle(&path);
        assert_eq!(LineIndex::of(&path).unwrap().entries.len(), 6);
        assert_ne!(std::fs::read(place_of(&path)).unwrap(), kept);
    }
}

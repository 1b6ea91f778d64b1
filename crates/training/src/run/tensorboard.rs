//! Scalars as TensorBoard event files: TFRecords of protocol-buffer `Event` messages, of which four
//! fields are needed.
//!
//! Written here because the existing crate pulls in an image library of 2021; the format is fixed
//! since 2016.

use crate::{Metrics, TrainingError};
use paretopo_durable::File;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Appends events to one file.
#[derive(Debug)]
pub(crate) struct EventWriter {
    file: File,
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

impl EventWriter {
    /// Starts a new file in `folder`.
    pub(crate) fn create(folder: &Path) -> Result<Self, TrainingError> {
        let name = format!("events.out.tfevents.{}.{}", now() as u64, std::process::id());
        let mut writer = Self { file: File::append(&folder.join(name))? };
        let mut event = Vec::new();
        double_field(&mut event, 1, now());
        bytes_field(&mut event, 3, b"brain.Event:2");
        writer.record(&event)?;
        Ok(writer)
    }

    /// Writes one event that holds all metrics of a step.
    pub(crate) fn write(&mut self, step: u64, metrics: &Metrics) -> Result<(), TrainingError> {
        let mut summary = Vec::new();
        for (name, value) in metrics {
            let mut entry = Vec::new();
            bytes_field(&mut entry, 1, name.as_bytes());
            tag(&mut entry, 2, 5);
            entry.extend((*value as f32).to_le_bytes());
            bytes_field(&mut summary, 1, &entry);
        }
        let mut event = Vec::new();
        double_field(&mut event, 1, now());
        tag(&mut event, 2, 0);
        varint(&mut event, step);
        bytes_field(&mut event, 5, &summary);
        self.record(&event)
    }

    /// Length, its checksum, the data, its checksum.
    fn record(&mut self, data: &[u8]) -> Result<(), TrainingError> {
        let length = (data.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked_crc(&length).to_le_bytes());
        record.extend(data);
        record.extend(masked_crc(data).to_le_bytes());
        Ok(self.file.put(&record)?)
    }
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn tag(into: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint(into, field << 3 | wire_type);
}

fn double_field(into: &mut Vec<u8>, field: u64, value: f64) {
    tag(into, field, 1);
    into.extend(value.to_le_bytes());
}

fn bytes_field(into: &mut Vec<u8>, field: u64, value: &[u8]) {
    tag(into, field, 2);
    varint(into, value.len() as u64);
    into.extend(value);
}

/// CRC-32C, rotated and offset as TFRecord wants it.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn crc32c(data: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !data.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_the_standard_example() {
        // RFC 3720, B.4: 32 bytes of zeros, and the usual check string
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn varints_are_little_endian_base_128() {
        let mut bytes = Vec::new();
        varint(&mut bytes, 300);
        assert_eq!(bytes, [0xac, 0x02]);
    }
}

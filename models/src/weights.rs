//! Tensors in safetensors files (f32, f16 or bf16), read and written one at a time, so that no
//! second copy of a model is ever held.

use crate::checkpoint::{CheckpointError, access, invalid};
use crate::{NotFinite, first_not_finite, stacked_experts};
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A tensor's values on the host, in the checkpoint's layout.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Key in the checkpoint.
    pub name: String,
    /// Shape in the checkpoint.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

#[derive(Debug)]
struct MappedFile {
    path: PathBuf,
    bytes: Mmap,
    /// Where the values begin.
    start: usize,
    metadata: Metadata,
}

/// Where a tensor is stored.
#[derive(Debug)]
struct Stored {
    /// The file's place.
    file: usize,
    /// Where it is a part of a tensor that holds many experts.
    part: Option<stacked_experts::Part>,
}

/// The tensors of some safetensors files, mapped into memory and each taken once. What holds many
/// experts in one tensor is the tensors of each of them.
#[derive(Debug)]
pub struct WeightFiles {
    files: Vec<MappedFile>,
    /// Those that have not been taken.
    places: BTreeMap<String, Stored>,
}

impl WeightFiles {
    /// Opens files and reads their headers.
    ///
    /// # Errors
    /// When a file cannot be read or is not whole, or two of them hold the same tensor.
    pub fn open(paths: &[PathBuf]) -> Result<Self, CheckpointError> {
        let (mut files, mut places) = (Vec::new(), BTreeMap::new());
        for path in paths {
            let file = File::open(path).map_err(access(path))?;
            // SAFETY: the map is read-only; a file that another process changes meanwhile yields
            // wrong values, as reading it would.
            #[expect(unsafe_code, reason = "memory-mapping avoids a second copy of the weights")]
            let bytes = unsafe { Mmap::map(&file) }.map_err(access(path))?;
            let read = SafeTensors::read_metadata(&bytes);
            let (header, metadata) = read
                .map_err(|error| invalid(path, format!("not a whole safetensors file: {error}")))?;
            for (name, info) in metadata.tensors() {
                let file = files.len();
                let parts = match stacked_experts::parts(&name, &info.shape) {
                    parts if parts.is_empty() => vec![(name, Stored { file, part: None })],
                    parts => parts
                        .into_iter()
                        .map(|(name, part)| (name, Stored { file, part: Some(part) }))
                        .collect(),
                };
                for (name, stored) in parts {
                    if places.contains_key(&name) {
                        return Err(invalid(path, format!("`{name}` stands twice in the files")));
                    }
                    places.insert(name, stored);
                }
            }
            files.push(MappedFile {
                path: path.clone(),
                bytes,
                start: size_of::<u64>() + header,
                metadata,
            });
        }
        Ok(Self { files, places })
    }

    /// Reads a tensor, which is then gone; `None` if there is none of that name.
    ///
    /// # Errors
    /// When it is stored in an unsupported number type, or holds a value that is not finite.
    pub fn take(&mut self, name: &str) -> Option<Result<NamedTensor, CheckpointError>> {
        let Stored { file, part } = self.places.remove(name)?;
        let file = &self.files[file];
        let info = file.metadata.info(part.as_ref().map_or(name, |part| &part.of))?;
        let (from, to) = info.data_offsets;
        let bytes = &file.bytes[file.start + from..file.start + to];
        let (bytes, shape) = match part {
            Some(part) => (part.bytes(bytes, &info.shape), part.shape),
            None => (bytes, info.shape.clone()),
        };
        let values = to_f32(bytes, info.dtype);
        let values = match values {
            Ok(values) => values,
            Err(reason) => return Some(Err(invalid(&file.path, format!("`{name}` {reason}")))),
        };
        if let Some(value) = first_not_finite(&values) {
            let found = NotFinite { tensor: name.to_owned(), value };
            return Some(Err(CheckpointError::NotFinite { path: file.path.clone(), found }));
        }
        Some(Ok(NamedTensor { name: name.to_owned(), shape, values }))
    }

    /// Numbers in all tensors together.
    pub fn values(&self) -> u64 {
        let tensors = self.files.iter().flat_map(|file| file.metadata.tensors().into_values());
        tensors.map(|info| info.shape.iter().product::<usize>() as u64).sum()
    }

    /// The names of all tensors that have not been taken.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.places.keys()
    }

    /// The tensors that have not been taken, and whether each is stored in integers or numbers of
    /// fewer than 16 bits.
    pub(crate) fn packed(&self) -> impl Iterator<Item = (&str, bool)> + Clone {
        self.places.iter().map(|(name, stored)| {
            let plain = [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64, Dtype::BOOL];
            let of = stored.part.as_ref().map_or(name, |part| &part.of);
            let info = self.files[stored.file].metadata.info(of);
            (name.as_str(), info.is_some_and(|info| !plain.contains(&info.dtype)))
        })
    }

    /// Gives up the tensors for which `unwanted` holds.
    pub fn forget(&mut self, unwanted: impl Fn(&str) -> bool) {
        self.places.retain(|name, _| !unwanted(name));
    }
}

/// Reads all tensors of one safetensors file as f32.
///
/// # Errors
/// When the file cannot be read, is damaged, or holds another number type or a value that is not
/// finite.
pub fn load_tensors(path: &Path) -> Result<BTreeMap<String, NamedTensor>, CheckpointError> {
    let mut file = WeightFiles::open(&[path.to_owned()])?;
    let names: Vec<String> = file.names().cloned().collect();
    names
        .into_iter()
        .filter_map(|name| file.take(&name).map(|tensor| Ok((name, tensor?))))
        .collect()
}

fn to_f32(bytes: &[u8], dtype: Dtype) -> Result<Vec<f32>, String> {
    let pairs = || bytes.chunks_exact(2).map(|bytes| [bytes[0], bytes[1]]);
    Ok(match dtype {
        Dtype::F32 => bytes
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect(),
        Dtype::F16 => pairs().map(|bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
        Dtype::BF16 => pairs().map(|bytes| bf16::from_le_bytes(bytes).to_f32()).collect(),
        other => {
            return Err(format!("is stored as {other:?}; only F32, F16 and BF16 are supported"));
        }
    })
}

/// A tensor to be written, whose values are fetched when it is its turn.
pub struct SavedTensor {
    /// Key in the file.
    pub name: String,
    /// Shape in the file.
    pub shape: Vec<usize>,
    /// Fetches the row-major values.
    pub values: Box<dyn Fn() -> Vec<f32>>,
}

impl From<NamedTensor> for SavedTensor {
    fn from(NamedTensor { name, shape, values }: NamedTensor) -> Self {
        Self { name, shape, values: Box::new(move || values.clone()) }
    }
}

impl SavedTensor {
    /// Bytes in the file.
    fn bytes(&self) -> usize {
        size_of::<f32>() * self.shape.iter().product::<usize>()
    }
}

/// Writes a safetensors file in f32, in the order of names, as the library would: the length of the
/// header (eight bytes), the header, the values. The library itself opens its file, which would be a
/// write that no test can fail. An existing file is replaced.
///
/// # Errors
/// When the file cannot be written.
pub fn write_tensors(path: &Path, tensors: &[SavedTensor]) -> Result<(), CheckpointError> {
    let mut tensors: Vec<&SavedTensor> = tensors.iter().collect();
    tensors.sort_by(|left, right| left.name.cmp(&right.name));
    let mut offset = 0;
    let mut infos = Vec::with_capacity(tensors.len());
    for tensor in &tensors {
        let data_offsets = (offset, offset + tensor.bytes());
        let info = TensorInfo { dtype: Dtype::F32, shape: tensor.shape.clone(), data_offsets };
        infos.push((tensor.name.clone(), info));
        offset = data_offsets.1;
    }
    let format = [("format".to_owned(), "pt".to_owned())].into();
    let metadata = Metadata::new(Some(format), infos).map_err(|error| invalid(path, error))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|error| invalid(path, error))?;
    // values begin at a multiple of eight bytes
    header.resize(header.len().next_multiple_of(size_of::<u64>()), b' ');
    let mut file = BufWriter::new(paretopo_durable::File::create(path)?);
    let mut write = |bytes: &[u8]| file.write_all(bytes).map_err(access(path));
    write(&(header.len() as u64).to_le_bytes())?;
    write(&header)?;
    for tensor in tensors {
        let values: Vec<u8> = (tensor.values)().into_iter().flat_map(f32::to_le_bytes).collect();
        write(&values)?;
    }
    file.flush().map_err(access(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    #[test]
    fn a_file_is_byte_for_byte_what_the_library_writes() {
        let folder = std::env::temp_dir().join(format!("paretopo-weights-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        // not in the order of names; an empty one and a scalar among them
        let tensors = [("b", vec![2, 2]), ("a.weight", vec![3]), ("empty", vec![0]), ("c", vec![])];
        let values = |shape: &[usize]| -> Vec<f32> {
            (0..shape.iter().product()).map(|index: usize| index as f32 - 0.5).collect()
        };
        let saved = tensors.clone().map(|(name, shape)| SavedTensor {
            name: name.into(),
            values: Box::new({
                let values = values(&shape);
                move || values.clone()
            }),
            shape,
        });
        let path = folder.join("ours.safetensors");
        write_tensors(&path, &saved).unwrap();
        let bytes = tensors.clone().map(|(_, shape)| -> Vec<u8> {
            values(&shape).into_iter().flat_map(f32::to_le_bytes).collect()
        });
        let views = tensors.iter().zip(&bytes).map(|((name, shape), bytes)| {
            (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        });
        let format = [("format".to_owned(), "pt".to_owned())].into();
        let expected = safetensors::serialize(views, Some(format)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), expected);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

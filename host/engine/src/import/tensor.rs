//! Values of a tensor, gathered from the storage that it is a view of.

use safetensors::tensor::Dtype;

/// What a storage holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `f16`.
    Half,
    /// `bf16`.
    BFloat16,
    /// `f32`.
    Float,
    /// `f64`.
    Double,
    /// `u8`.
    Byte,
    /// `i8`.
    Char,
    /// `i16`.
    Short,
    /// `i32`.
    Int,
    /// `i64`.
    Long,
    /// `bool`.
    Bool,
}

impl Kind {
    /// The kind of a storage's class in the module `torch`.
    #[must_use]
    pub fn named(class: &str) -> Option<Self> {
        Some(match class {
            "HalfStorage" => Self::Half,
            "BFloat16Storage" => Self::BFloat16,
            "FloatStorage" => Self::Float,
            "DoubleStorage" => Self::Double,
            "ByteStorage" => Self::Byte,
            "CharStorage" => Self::Char,
            "ShortStorage" => Self::Short,
            "IntStorage" => Self::Int,
            "LongStorage" => Self::Long,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    /// Bytes of a value.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Byte | Self::Char | Self::Bool => 1,
            Self::Half | Self::BFloat16 | Self::Short => 2,
            Self::Float | Self::Int => 4,
            Self::Double | Self::Long => 8,
        }
    }

    /// The type it is written as: real numbers as `f32`, the rest as it is.
    #[must_use]
    pub fn written(self) -> Dtype {
        match self {
            Self::Half | Self::BFloat16 | Self::Float | Self::Double => Dtype::F32,
            Self::Byte => Dtype::U8,
            Self::Char => Dtype::I8,
            Self::Short => Dtype::I16,
            Self::Int => Dtype::I32,
            Self::Long => Dtype::I64,
            Self::Bool => Dtype::BOOL,
        }
    }

    fn append(self, value: &[u8], out: &mut Vec<u8>) {
        let float = match (self, value) {
            (Self::Half, [a, b]) => half::f16::from_le_bytes([*a, *b]).to_f32(),
            (Self::BFloat16, [a, b]) => half::bf16::from_le_bytes([*a, *b]).to_f32(),
            (Self::Double, [a, b, c, d, e, f, g, h]) => {
                f64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as f32
            }
            // Any byte but 0 is true.
            (Self::Bool, [byte]) => return out.push(u8::from(*byte != 0)),
            _ => return out.extend(value),
        };
        out.extend(float.to_le_bytes());
    }
}

/// A storage as a pickle names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storage<'a> {
    /// What it holds.
    pub kind: Kind,
    /// Its key among the storages of the file.
    pub key: &'a str,
    /// Values it holds.
    pub count: u64,
}

/// A tensor as a pickle describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec<'a> {
    /// The storage it is a view of.
    pub storage: Storage<'a>,
    /// Its first value there.
    pub offset: u64,
    /// Sizes.
    pub sizes: Vec<u64>,
    /// Values between neighbours, for each dimension.
    pub strides: Vec<u64>,
}

/// A tensor with its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Their type.
    pub dtype: Dtype,
    /// Shape.
    pub shape: Vec<usize>,
    /// Values, little-endian, last dimension fastest.
    pub data: Vec<u8>,
}

impl Spec<'_> {
    /// Number of values, where it is at most `most`, as it is when sizes of 0 are taken for 1: no
    /// size of an empty tensor is beyond reason either.
    fn count(&self, most: u64) -> Option<u64> {
        let product = |product: u64, size: &u64| product.checked_mul((*size).max(1));
        self.sizes.iter().try_fold(1, product).filter(|product| *product <= most)?;
        Some(self.sizes.iter().product())
    }

    /// Gathers the values from the bytes of the storage; `most` bytes at most.
    ///
    /// # Errors
    /// What does not fit, as text.
    pub fn gather(&self, storage: &[u8], most: u64) -> Result<Tensor, String> {
        let (kind, size) = (self.storage.kind, self.storage.kind.size());
        let written = kind.written().bitsize() as u64 / 8;
        let count = self.count(most / written).ok_or_else(|| {
            format!(
                "sizes {:?} are more than the {most} bytes left to a file like this",
                self.sizes
            )
        })?;
        let held = (storage.len() / size) as u64;
        if self.storage.count > held {
            let (says, found) = (self.storage.count, storage.len());
            return Err(format!("its storage of {says} × {size} bytes has {found} bytes"));
        }
        let shape = self.sizes.iter().map(|size| *size as usize).collect();
        let mut data = Vec::new();
        if count > 0 {
            let last = (self.sizes.iter().zip(&self.strides))
                .try_fold(self.offset, |last, (size, stride)| {
                    last.checked_add((size - 1).checked_mul(*stride)?)
                })
                .filter(|last| *last < self.storage.count);
            if last.is_none() {
                return Err(format!(
                    "offset {}, sizes {:?}, strides {:?} reach beyond its storage of {} values",
                    self.offset, self.sizes, self.strides, self.storage.count
                ));
            }
            // No more than it takes, which a buffer that grows by doubling would.
            data.reserve_exact((count * written) as usize);
            self.walk(count, |at| {
                let at = at as usize * size;
                kind.append(&storage[at..at + size], &mut data);
            });
        }
        Ok(Tensor { dtype: kind.written(), shape, data })
    }

    /// Calls `visit` with the place of each value in the storage, in order; all lie in it.
    fn walk(&self, count: u64, mut visit: impl FnMut(u64)) {
        let mut index = vec![0; self.sizes.len()];
        let mut at = self.offset;
        for _ in 0..count {
            visit(at);
            for dimension in (0..index.len()).rev() {
                index[dimension] += 1;
                at += self.strides[dimension];
                if index[dimension] < self.sizes[dimension] {
                    break;
                }
                // Back to the first of this dimension; `at` may pass the storage's end in between.
                at -= self.strides[dimension] * self.sizes[dimension];
                index[dimension] = 0;
            }
        }
    }
}

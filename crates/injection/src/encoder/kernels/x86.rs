//! The kernels with AVX2, AVX-VNNI and AVX-512 VNNI.
//!
//! This module is the only place of the crate with `unsafe` code: loads and stores, and the calls into functions that
//! are compiled for more instructions than the rest. What makes those calls sound is [`Level`]: outside of this module's
//! parent nobody can make one that promises more than the processor has, and only [`run`] makes the kernels.

#![allow(unsafe_code)]

mod avx2;
mod avx512;

use avx2::Avx2;
use avx512::Avx512;

use super::portable::Portable;
use super::{Instructions, Level, Work};

/// [`Level::run`].
pub(super) fn run<W: Work>(level: Level, work: W) -> W::Output {
    match level.0 {
        Instructions::Portable => work.run(Portable),
        // SAFETY: the level says that the processor has what the function is compiled for.
        Instructions::Avx2 => unsafe { in_avx2(work) },
        // SAFETY: as above.
        Instructions::AvxVnni => unsafe { in_avx_vnni(work) },
        // SAFETY: as above.
        Instructions::Avx512Vnni => unsafe { in_avx512(work) },
    }
}

#[target_feature(enable = "avx2")]
fn in_avx2<W: Work>(work: W) -> W::Output {
    // SAFETY: this is compiled for it.
    work.run(unsafe { Avx2::<false>::new() })
}

#[target_feature(enable = "avx2,avxvnni")]
fn in_avx_vnni<W: Work>(work: W) -> W::Output {
    // SAFETY: as above.
    work.run(unsafe { Avx2::<true>::new() })
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn in_avx512<W: Work>(work: W) -> W::Output {
    // SAFETY: as above.
    work.run(unsafe { Avx512::new() })
}

/// Operations on two vectors, each in terms of an instruction.
macro_rules! operations {
    ($(fn $name:ident = |$a:ident, $b:ident| $of_two:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $a: Self::Reals, $b: Self::Reals) -> Self::Reals {
            // SAFETY: `self` shows that the processor has the instruction.
            unsafe { $of_two }
        }
    )*};
}
use operations;

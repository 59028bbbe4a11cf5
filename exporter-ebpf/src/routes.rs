//! From the shape of a request's path to its route.
//!
//! What looks into a map is a "global function" each, as those in `parsers.rs`, with as little below it as can be: before Linux 6.13 the frames of all
//! functions that wait for one another have 512 bytes together, and this is where the longest row of them ends.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use vigie_ebpf::{
    path::Shape,
    types::{ASKED_SHAPES, Lost, PATH_EVENTS, ROUTE_NONE, ROUTE_OTHER, ROUTE_UNKNOWN, Request, ShapeKey, route_mode},
};

use crate::{
    maps::{ASKED, COLLAPSED, SHOWN_PATHS, lost},
    report::{is_known, known_route, mode_of},
};

/// User space has to see the path.
pub const SHOW: u64 = 1;
/// The path is below a level that has collapsed, and its requests are still counted.
pub const ASKED_FOR: u64 = 2;
/// It is asked for often.
pub const ASKED_OFTEN: u64 = 4;

/// Looks the route of a request up by the shape of its path. The result is made of [`SHOW`], [`ASKED_FOR`] and [`ASKED_OFTEN`].
///
/// [`vigie_close_shape`] comes before.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_find_shape(request: *mut Request, shape: *const Shape) -> u64 {
    // SAFETY: null, or a part of a map's value, as the verifier checks at each call.
    let Some(request) = (unsafe { request.as_mut() }) else {
        return 0;
    };
    let service = request.service as u64;
    if !is_known(request.service) {
        // It may have templates that tell paths of this shape apart.
        request.shape = vigie_exact(shape);
        return SHOW;
    }
    let mut result = 0;
    let mut route = vigie_known_route(request.shape, service) as u32;
    let (mode, general) = (mode_of(request.service), request.shape);
    if route == ROUTE_UNKNOWN && mode & route_mode::EXACT != 0 {
        request.shape = vigie_exact(shape);
        route = vigie_known_route(request.shape, service) as u32;
    }
    if route == ROUTE_UNKNOWN {
        if mode & route_mode::COLLAPSES != 0 {
            let collapsed = vigie_collapse(shape, service);
            if collapsed != general {
                route = vigie_known_route(collapsed, service) as u32;
                if route > ROUTE_OTHER && vigie_is_busy(general, service) != 0 {
                    return SHOW | ASKED_OFTEN;
                }
                // A template may match what stands below a level that has collapsed: user space looks, as often as it may be asked.
                if route > ROUTE_OTHER && mode & route_mode::TEMPLATED != 0 && vigie_may_show(service) != 0 {
                    return SHOW;
                }
                if route != ROUTE_UNKNOWN {
                    request.shape = collapsed;
                    result = ASKED_FOR;
                }
            }
        }
        if route == ROUTE_UNKNOWN {
            if mode & (route_mode::CLOSED | route_mode::TEMPLATED) == route_mode::CLOSED
                || (mode & route_mode::LIMITED != 0 && vigie_may_show(service) == 0)
            {
                request.route = ROUTE_OTHER;
                return 0;
            }
            return SHOW;
        }
    }
    if route != ROUTE_NONE {
        request.route = route;
    }
    // What has only had answers that say nothing stays unknown: if it now has another, user space must hear of it under its
    // own shape.
    result
}

/// The hash of a shape, whose segments are complete.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_close_shape(shape: *mut Shape) -> u64 {
    // SAFETY: null, or a part of a map's value, as the verifier checks at each call.
    match unsafe { shape.as_mut() } {
        Some(shape) => shape.close(),
        None => 0,
    }
}

/// The hash of a path itself, whose segments are complete.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_exact(shape: *const Shape) -> u64 {
    // SAFETY: null, or a part of a map's value, as the verifier checks at each call.
    match unsafe { shape.as_ref() } {
        Some(shape) => shape.exact(),
        None => 0,
    }
}

/// The route of a shape.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_known_route(shape: u64, service: u64) -> u64 {
    known_route(shape, service as u16) as u64
}

/// The hash of a shape with those levels collapsed that have.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_collapse(shape: *const Shape, service: u64) -> u64 {
    // SAFETY: null, or a part of a map's value, as the verifier checks at each call.
    let Some(shape) = (unsafe { shape.as_ref() }) else {
        return 0;
    };
    shape.collapse(|above| {
        let key = ShapeKey {
            shape: above,
            service: service as u32,
            reserved: 0,
        };
        // SAFETY: only whether there is one is looked at.
        unsafe { COLLAPSED.get(key) }.is_some()
    })
}

/// Counts a request below a collapsed level, and says whether (1) there were so many of its shape that user space should see
/// its path.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_is_busy(shape: u64, service: u64) -> u64 {
    let shape = shape ^ service.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let Some(asked) = ASKED.get_ptr_mut(shape as u32 & (ASKED_SHAPES as u32 - 1)) else {
        return 0;
    };
    // SAFETY: the function has no preconditions; the map's value.
    unsafe { (*asked).count(shape, bpf_ktime_get_ns()) as u64 }
}

/// Whether (1) one more new path of a service may be shown to user space now.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vigie_may_show(service: u64) -> u64 {
    let Some(shown) = SHOWN_PATHS.get_ptr_mut(vigie_ebpf::service::slot(service as u16)) else {
        return 1;
    };
    // SAFETY: the function has no preconditions.
    let period = unsafe { bpf_ktime_get_ns() } >> 30;
    // The period, and how many in it. Two CPUs may count at once, and one path less.
    // SAFETY: the map's value.
    let shown = unsafe { &mut *shown };
    if *shown >> 32 != period & 0xffff_ffff {
        *shown = period << 32;
    }
    if *shown as u32 >= PATH_EVENTS {
        lost(Lost::OverBudget);
        return 0;
    }
    *shown += 1;
    1
}

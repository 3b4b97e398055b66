//! [`on_both`]: promises that hold for processes and for containers.

/// Each promise holds for processes and for containers.
macro_rules! on_both {
    ($($promise:ident,)*) => {
        mod of_processes {
            $(#[test] fn $promise() { super::$promise(crate::support::Backend::Process); })*
        }

        mod of_containers {
            $(#[test] fn $promise() {
                if !crate::support::engine::without_image(stringify!($promise)) {
                    super::$promise(crate::support::Backend::Docker);
                }
            })*
        }
    };
}
pub(crate) use on_both;

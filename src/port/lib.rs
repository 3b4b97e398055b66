//! The wire between a ServiceController and its RemoteService, known to both ends; it knows nothing of graphs
//! or manifests.

pub mod message {
    //! What is said over a ConnectionPort: two families that never mix.
    pub mod control;
}

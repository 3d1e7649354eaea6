//! The set-up that both servers share: one single-threaded runtime a core, one port.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::Failure;

/// Serves on a free port until the process ends.
pub(crate) fn start(routes: &Routes) -> Result<SocketAddr, Failure> {
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    for _ in 0..std::thread::available_parallelism()?.get() {
        let listener = listen(address)?;
        // The first listener gets the port from the kernel; the others join it there.
        address = listener.local_addr()?;
        let routes = routes.clone();
        std::thread::spawn(move || serve(listener, routes).expect("the server stopped"));
    }
    Ok(address)
}

fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1_024)?;
    Ok(socket.into())
}

fn serve(listener: TcpListener, routes: Routes) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        Server::builder().add_routes(routes).serve_with_incoming(incoming).await?;
        Ok(())
    })
}

// Preloaded into DPDK's testpmd, for what its drivers cannot be told.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef int set_mac(uint16_t port, void *mac);

// The bonding driver gives the bond's MAC to each slave and takes "the driver cannot" for a fatal error; net_af_xdp has no
// such function, and on veth, where every frame is received, needs none.
int rte_eth_dev_default_mac_addr_set(uint16_t port, void *mac)
{
	set_mac *real = (set_mac *)dlsym(RTLD_NEXT, "rte_eth_dev_default_mac_addr_set");
	int answer = real ? real(port, mac) : -ENOTSUP;

	return answer == -ENOTSUP ? 0 : answer;
}

// As in xdp/xsk.h.
struct xsk_socket_config {
	uint32_t rx_size, tx_size, libxdp_flags, xdp_flags;
	uint16_t bind_flags;
};

typedef int create(void *xsk, const char *ifname, uint32_t queue, void *umem, void *rx, void *tx,
		   const struct xsk_socket_config *config);

// net_af_xdp takes the driver's hook. In the netdevs whose names begin with GENERIC_XDP it gets the generic one.
int xsk_socket__create(void *xsk, const char *ifname, uint32_t queue, void *umem, void *rx, void *tx,
		       const struct xsk_socket_config *config)
{
	const uint32_t XDP_FLAGS_SKB_MODE = 1U << 1;
	// DPDK loads its driver, and with it the library, where RTLD_NEXT does not look.
	void *library = dlopen("libxdp.so.1", RTLD_LAZY);
	create *real = library ? (create *)dlsym(library, "xsk_socket__create") : NULL;
	const char *generic = getenv("GENERIC_XDP");
	struct xsk_socket_config changed = *config;

	if (!real)
		return -ENOSYS;
	if (generic && generic[0] == ifname[0])
		changed.xdp_flags |= XDP_FLAGS_SKB_MODE;
	return real(xsk, ifname, queue, umem, rx, tx, &changed);
}

// What it says is read from a file while it runs.
__attribute__((constructor)) static void say_it_at_once(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
}

// Preloaded into DPDK's testpmd. Its bonding driver gives the bond's MAC to each slave and takes "the driver cannot" for
// a fatal error; net_af_xdp has no such function, and on veth, where every frame is received, needs none.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>

typedef int set_mac(uint16_t port, void *mac);

int rte_eth_dev_default_mac_addr_set(uint16_t port, void *mac)
{
	set_mac *real = (set_mac *)dlsym(RTLD_NEXT, "rte_eth_dev_default_mac_addr_set");
	int answer = real ? real(port, mac) : -ENOTSUP;

	return answer == -ENOTSUP ? 0 : answer;
}

// What it says is read from a file while it runs.
__attribute__((constructor)) static void say_it_at_once(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
}

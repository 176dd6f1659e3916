/* A small stand-in for libnvidia-ml.so.1, so that the real Python bindings can be driven on any
 * machine. NVML_STUB in the environment chooses the card:
 *
 *   normal     one NVIDIA H200, all queries answered
 *   old        a driver without the newer functions and fields
 *   refusing   as in a virtual machine: clocks, power, energy, ECC and links are not told
 *   throttled  held back by the software power cap and by heat, a bit nobody knows is set too
 *   shared     two more processes compute on the card
 *   contained  inside a container: the one process listed is ours under the host's number
 *   mig        a slice of the card, 1g.18gb
 *   limited    a power limit of 500 W where 700 W is the default
 *   links      link 7 is dead, 3 is slow, 9 had errors, the switch fabric is not ready
 *   lost       the card answers five rounds of readings and is gone
 *   nodriver   the library is there, the driver is not
 *
 * Values and signatures follow NVIDIA's NVML API Reference Guide.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, NO_DRIVER = 9,
       GPU_IS_LOST = 15 };
enum { ECC_CORRECTED = 0, CLOCK_SM = 1, CLOCK_MEM = 2, LINKS = 18 };

static int board, slice; /* their addresses are the handles */
static int rounds;

static int is(const char *scenario) {
    const char *chosen = getenv("NVML_STUB");
    return chosen && strcmp(chosen, scenario) == 0;
}

/* What a query that a virtual machine refuses returns, else 0; every query passes through here. */
static int answer(int refusable) {
    if (is("lost") && rounds > 5) return GPU_IS_LOST;
    return refusable && is("refusing") ? NOT_SUPPORTED : OK;
}

#define GIVE(refusable, assignment) do { int r = answer(refusable); if (r) return r; assignment; return OK; } while (0)

int nvmlInitWithFlags(unsigned flags) { (void)flags; return is("nodriver") ? NO_DRIVER : OK; }
int nvmlShutdown(void) { return OK; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { strncpy(text, "580.159.04", size); return OK; }
int nvmlSystemGetCudaDriverVersion(int *version) { *version = 13000; return OK; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    if (index) return INVALID;
    *device = &board;
    return OK;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    if (is("mig") && !strcmp(uuid, "MIG-5a0c")) { *device = &slice; return OK; }
    if (!strcmp(uuid, "GPU-77f2")) { *device = &board; return OK; }
    return NOT_FOUND;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device) {
    if (strcmp(bus, "00000000:65:00.0")) return NOT_FOUND;
    *device = &board;
    return OK;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *mig, void **device) {
    if (mig != &slice) return INVALID;
    *device = &board;
    return OK;
}

int nvmlDeviceGetName(void *device, char *text, unsigned size) {
    strncpy(text, device == &slice ? "NVIDIA H200 MIG 1g.18gb" : "NVIDIA H200", size);
    return OK;
}
int nvmlDeviceGetUUID(void *device, char *text, unsigned size) {
    strncpy(text, device == &slice ? "MIG-5a0c" : "GPU-77f2", size);
    return OK;
}
int nvmlDeviceGetVbiosVersion(void *d, char *text, unsigned size) {
    (void)d;
    GIVE(1, strncpy(text, "96.00.A5.00.01", size));
}
int nvmlDeviceGetVirtualizationMode(void *d, unsigned long long *mode) {
    (void)d;
    *mode = is("refusing") ? 2 : 1;
    return OK;
}

int nvmlDeviceGetClockInfo(void *d, unsigned kind, unsigned *mhz) {
    if (d == &slice) return NOT_SUPPORTED;
    rounds += kind == CLOCK_SM;
    GIVE(1, *mhz = kind == CLOCK_SM ? (is("throttled") ? 1410 : 1980) : 3201);
}
int nvmlDeviceGetMaxClockInfo(void *d, unsigned kind, unsigned *mhz) {
    (void)d;
    GIVE(1, *mhz = kind == CLOCK_SM ? 1980 : 3201);
}
int nvmlDeviceGetPowerUsage(void *d, unsigned *mw) { (void)d; GIVE(1, *mw = 612300); }
int nvmlDeviceGetTotalEnergyConsumption(void *d, unsigned long long *mj) {
    (void)d;
    GIVE(1, *mj = 1000000ull + 61000ull * rounds);
}
int nvmlDeviceGetTemperature(void *d, unsigned sensor, unsigned *c) {
    (void)d;
    if (sensor) return INVALID;
    GIVE(0, *c = 64);
}
int nvmlDeviceGetMemoryBusWidth(void *d, unsigned *bits) { (void)d; GIVE(0, *bits = 6144); }
int nvmlDeviceGetEnforcedPowerLimit(void *d, unsigned *mw) {
    (void)d;
    GIVE(1, *mw = is("limited") ? 500000 : 700000);
}
int nvmlDeviceGetPowerManagementDefaultLimit(void *d, unsigned *mw) { (void)d; GIVE(1, *mw = 700000); }

typedef struct { uint32_t field, scope; int64_t timestamp, latency; int type, result; union { double d; unsigned u; unsigned long long ull; } value; } field_t;
int nvmlDeviceGetFieldValues(void *d, int count, field_t *values) {
    (void)d;
    for (int i = 0; i < count; i++) {
        int r = is("old") ? NOT_SUPPORTED : answer(1);
        values[i].result = r;
        values[i].type = 1;
        if (r) continue;
        if (values[i].field == 186) values[i].value.u = 655400; /* NVML_FI_DEV_POWER_INSTANT */
        else if (values[i].field == 82) values[i].value.u = 71; /* NVML_FI_DEV_MEMORY_TEMP */
        else if (values[i].field == 164) /* NVML_FI_DEV_NVLINK_GET_SPEED, in MB/s */
            values[i].value.u = !is("links") ? 26562 : values[i].scope == 7 ? 0 : values[i].scope == 3 ? 13281 : 26562;
        else values[i].result = INVALID;
    }
    return is("lost") && rounds > 5 ? GPU_IS_LOST : OK;
}

static unsigned long long reasons(void) {
    /* software power cap, software thermal slowdown, and bit 40 */
    return is("throttled") ? 0x04 | 0x20 | 1ull << 40 : 0;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *d, unsigned long long *mask) {
    (void)d;
    GIVE(1, *mask = is("old") ? 0x04 : reasons());
}
typedef struct { unsigned long long reference_ns, violation_ns; } violation_t;
int nvmlDeviceGetViolationStatus(void *d, unsigned policy, violation_t *found) {
    (void)d;
    /* 30 ms of each round by power (policy 0), when throttled */
    if (policy > 5) return INVALID;
    GIVE(1, found->violation_ns = is("throttled") && policy == 0 ? 30000000ull * rounds : 0);
}
#ifndef OLD
int nvmlDeviceGetCurrentClocksEventReasons(void *d, unsigned long long *mask) {
    (void)d;
    GIVE(1, *mask = reasons());
}
#endif

int nvmlDeviceGetEccMode(void *d, int *now, int *pending) {
    (void)d;
    GIVE(1, (*now = 1, *pending = 1));
}
int nvmlDeviceGetTotalEccErrors(void *d, int kind, int counter, unsigned long long *count) {
    (void)d; (void)counter;
    GIVE(1, *count = kind == ECC_CORRECTED ? 3 : 0);
}
int nvmlDeviceGetMigMode(void *d, unsigned *now, unsigned *pending) {
    (void)d;
    GIVE(1, *now = *pending = is("mig"));
}
int nvmlDeviceGetPersistenceMode(void *d, int *mode) { (void)d; GIVE(0, *mode = 1); }

typedef struct { unsigned slices[8]; unsigned long long memory_mb; } attributes_t;
int nvmlDeviceGetAttributes_v2(void *d, attributes_t *found) {
    if (d != &slice) return INVALID;
    memset(found, 0, sizeof *found);
    found->slices[0] = 16; /* multiprocessors */
    found->memory_mb = 16384;
    return OK;
}
typedef struct { unsigned long long total, free, used; } memory_t;
int nvmlDeviceGetMemoryInfo(void *d, memory_t *memory) {
    (void)d;
    memory->total = 143771ull << 20;
    memory->free = 143000ull << 20;
    memory->used = memory->total - memory->free;
    return OK;
}

typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process_t;
int nvmlDeviceGetComputeRunningProcesses_v3(void *d, unsigned *count, process_t *found) {
    (void)d;
    int r = answer(0);
    if (r) return r;
    unsigned listed = is("shared") ? 3 : 1;
    if (!found || *count < listed) { *count = listed; return TOO_SMALL; }
    memset(found, 0, listed * sizeof *found);
    for (unsigned i = 0; i < listed; i++) found[i].pid = 4000000 + i;
    if (!is("contained")) found[0].pid = (unsigned)getpid();
    *count = listed;
    return OK;
}

int nvmlDeviceGetCurrPcieLinkGeneration(void *d, unsigned *v) { (void)d; GIVE(1, *v = 5); }
int nvmlDeviceGetCurrPcieLinkWidth(void *d, unsigned *v) { (void)d; GIVE(1, *v = 16); }
int nvmlDeviceGetMaxPcieLinkGeneration(void *d, unsigned *v) { (void)d; GIVE(1, *v = 5); }
int nvmlDeviceGetMaxPcieLinkWidth(void *d, unsigned *v) { (void)d; GIVE(1, *v = 16); }
int nvmlDeviceGetNvLinkState(void *d, unsigned link, unsigned *up) {
    (void)d;
    if (link >= LINKS) return INVALID;
    GIVE(1, *up = !(is("links") && link == 7));
}

int nvmlDeviceGetNvLinkVersion(void *d, unsigned link, unsigned *v) {
    (void)d; (void)link;
    GIVE(1, *v = 6); /* NVLink 4.0 */
}
int nvmlDeviceGetNvLinkRemoteDeviceType(void *d, unsigned link, int *v) {
    (void)d; (void)link;
    GIVE(1, *v = 2); /* a switch */
}
int nvmlDeviceGetNvLinkErrorCounter(void *d, unsigned link, int counter, unsigned long long *v) {
    (void)d;
    GIVE(1, *v = is("links") && link == 9 && counter == 0 ? 17 : 0);
}
int nvmlDeviceGetGpuFabricInfo(void *d, struct { unsigned char uuid[16]; int status; unsigned clique, state; } *info) {
    (void)d;
    GIVE(1, (info->status = 0, info->clique = 0, info->state = is("links") ? 2 : 3));
}
int nvmlDeviceGetPciInfo_v3(void *d, struct { char old[16]; unsigned domain, bus, device, id, system; char id_text[32]; } *info) {
    (void)d;
    GIVE(1, strncpy(info->id_text, "00000000:65:00.0", 32));
}

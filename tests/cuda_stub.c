/* A small stand-in for libcuda.so.1, so that Triton's own driver and launcher can be driven on any
 * machine. It tells of two GPUs alike, takes the machine code that Triton has made for them, and
 * writes what is loaded and launched to the file that CUDA_STUB_LOG names, one JSON object a line.
 * It runs nothing, and refuses what the real driver refuses. CUDA_STUB in the environment chooses:
 *
 *   h200    compute capability 9.0, 132 multiprocessors, 227 KB of shared memory for a program
 *   a100    8.0, 108, 163 KB
 *   b200    10.0, 148, 227 KB
 *   l40s    8.9, 142, 99 KB
 *
 * Values and limits are those of the CUDA C++ Programming Guide, "Technical Specifications per
 * Compute Capability"; what is refused, and as what, is from the CUDA Driver API's manual. The
 * sections of a cubin are read as `cuobjdump -elf` names them.
 */
#include <cuda.h> /* of Triton */
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GPUS = 2, PARAMETERS = 64, UNASKED_SHARED = 48 << 10, REGISTERS = 65536, THREADS = 1024 };
enum { INFO_FORMAT_SIZED = 4, INFO_MAX_THREADS = 0x05, INFO_REQUIRED_THREADS = 0x10,
       INFO_PARAMETER = 0x17, INFO_REGISTERS = 0x2f, INFO_FRAME = 0x11 };

/* Device memory is where no host memory is: bits 44 and up of an address on GPU i say i + 1. */
#define GPU_OF(address) ((int)((address) >> 44) - 1)

typedef struct { const char *name; int major, minor, units, shared, shared_sm; } card_t;
static const card_t CARDS[] = {
    {"h200", 9, 0, 132, 227 << 10, 228 << 10},
    {"a100", 8, 0, 108, 163 << 10, 164 << 10},
    {"b200", 10, 0, 148, 227 << 10, 228 << 10},
    {"l40s", 8, 9, 142, 99 << 10, 100 << 10},
};

typedef struct { int gpu; } context_t;
static context_t contexts[GPUS]; /* their addresses are the handles */
static __thread CUcontext current;

typedef struct { unsigned char *image; CUcontext context; } module_t;
typedef struct {
    char name[256];
    CUcontext context;
    int registers, frame, most_threads, required_threads, shared, dynamic_shared;
    int parameters, size[PARAMETERS];
} function_t;

static const card_t *card(void) {
    const char *chosen = getenv("CUDA_STUB");
    for (unsigned i = 0; chosen && i < sizeof CARDS / sizeof *CARDS; i++)
        if (!strcmp(CARDS[i].name, chosen)) return &CARDS[i];
    return &CARDS[0];
}

static FILE *opened_log(void) {
    const char *path = getenv("CUDA_STUB_LOG");
    return path ? fopen(path, "a") : NULL;
}

static int gpu_of(CUcontext context) { return ((context_t *)context)->gpu; }

/* ------------------------------------------------------------------------- devices, contexts */

CUresult cuInit(unsigned flags) { (void)flags; return CUDA_SUCCESS; }
CUresult cuDriverGetVersion(int *version) { *version = 13000; return CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int *count) { *count = GPUS; return CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice *device, int index) {
    if (index < 0 || index >= GPUS) return CUDA_ERROR_INVALID_DEVICE;
    *device = index;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute which, CUdevice device) {
    if (device < 0 || device >= GPUS) return CUDA_ERROR_INVALID_DEVICE;
    switch ((int)which) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = card()->major; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = card()->minor; break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = card()->units; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = card()->shared; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: *value = card()->shared_sm; break;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK: *value = REGISTERS; break;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *value = 32; break;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: *value = 1980000; break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: *value = 3201000; break;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: *value = 6144; break;
    default: return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    if (device < 0 || device >= GPUS) return CUDA_ERROR_INVALID_DEVICE;
    contexts[device].gpu = device;
    *context = (CUcontext)&contexts[device];
    return CUDA_SUCCESS;
}
CUresult cuCtxSetCurrent(CUcontext context) { current = context; return CUDA_SUCCESS; }
CUresult cuCtxGetCurrent(CUcontext *context) { *context = current; return CUDA_SUCCESS; }

CUresult cuCtxGetDevice(CUdevice *device) {
    if (!current) return CUDA_ERROR_INVALID_CONTEXT;
    *device = gpu_of(current);
    return CUDA_SUCCESS;
}
/* Triton's driver is linked with these, and calls them for nothing that we do. */
CUresult cuCtxGetLimit(size_t *value, CUlimit which) { (void)value; (void)which; abort(); }
CUresult cuCtxSetLimit(CUlimit which, size_t value) { (void)which; (void)value; abort(); }
CUresult cuModuleUnload(CUmodule module) { (void)module; abort(); }
CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) {
    (void)stream; (void)status; abort();
}

CUresult cuPointerGetAttribute(void *value, CUpointer_attribute which, CUdeviceptr address) {
    if (which != CU_POINTER_ATTRIBUTE_DEVICE_POINTER || GPU_OF(address) < 0 || GPU_OF(address) >= GPUS)
        return CUDA_ERROR_INVALID_VALUE;
    *(CUdeviceptr *)value = address;
    return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult code, const char **text) {
    switch (code) {
    case CUDA_SUCCESS: *text = "no error"; break;
    case CUDA_ERROR_INVALID_VALUE: *text = "invalid argument"; break;
    case CUDA_ERROR_INVALID_DEVICE: *text = "invalid device ordinal"; break;
    case CUDA_ERROR_INVALID_IMAGE: *text = "device kernel image is invalid"; break;
    case CUDA_ERROR_INVALID_CONTEXT: *text = "invalid device context"; break;
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
        *text = "no kernel image is available for execution on the device"; break;
    case CUDA_ERROR_INVALID_HANDLE: *text = "invalid resource handle"; break;
    case CUDA_ERROR_NOT_FOUND: *text = "named symbol not found"; break;
    case CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: *text = "too many resources requested for launch"; break;
    default: *text = NULL; return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

/* ------------------------------------------------------------------------- modules, functions */

static const Elf64_Shdr *sections(const unsigned char *image, int *count) {
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)image;
    *count = head->e_shnum;
    return (const Elf64_Shdr *)(image + head->e_shoff);
}

static const Elf64_Shdr *section(const unsigned char *image, const char *kind, const char *name) {
    int count;
    const Elf64_Shdr *all = sections(image, &count);
    const char *names =
        (const char *)image + all[((const Elf64_Ehdr *)image)->e_shstrndx].sh_offset;
    char wanted[512];
    snprintf(wanted, sizeof wanted, "%s%s", kind, name);
    for (int i = 0; i < count; i++)
        if (!strcmp(names + all[i].sh_name, wanted)) return &all[i];
    return NULL;
}

static int named(const unsigned char *image, uint32_t symbol, const char *name) {
    const Elf64_Shdr *symbols = section(image, ".symtab", ""), *texts = section(image, ".strtab", "");
    const Elf64_Sym *all = (const Elf64_Sym *)(image + symbols->sh_offset);
    return !strcmp((const char *)image + texts->sh_offset + all[symbol].st_name, name);
}

static void read_info(const unsigned char *image, const Elf64_Shdr *info, function_t *f) {
    const unsigned char *at = image + info->sh_offset, *end = at + info->sh_size;
    while (at < end) {
        int format = at[0], attribute = at[1], size = 0;
        uint32_t word[4] = {0};
        if (format == INFO_FORMAT_SIZED) {
            size = at[2] | at[3] << 8;
            memcpy(word, at + 4, size < 16 ? size : 16);
        }
        at += 4 + size;
        if (format != INFO_FORMAT_SIZED) continue;
        if (attribute == INFO_MAX_THREADS) f->most_threads = word[0] * word[1] * word[2];
        if (attribute == INFO_REQUIRED_THREADS)
            f->most_threads = f->required_threads = word[0] * word[1] * word[2];
        if (attribute == INFO_REGISTERS && named(image, word[0], f->name)) f->registers = word[1];
        if (attribute == INFO_FRAME && named(image, word[0], f->name)) f->frame = word[1];
        if (attribute == INFO_PARAMETER) {
            int place = word[1] & 0xffff;
            if (place >= PARAMETERS) abort();
            f->size[place] = word[2] >> 18;
            if (place >= f->parameters) f->parameters = place + 1;
        }
    }
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    const Elf64_Ehdr *head = image;
    if (!current) return CUDA_ERROR_INVALID_CONTEXT;
    if (memcmp(head->e_ident, ELFMAG, SELFMAG) || head->e_machine != EM_CUDA)
        return CUDA_ERROR_INVALID_IMAGE;
    /* The architecture's place has moved with the version of the binary interface. */
    int built_for = head->e_ident[EI_ABIVERSION] < 8 ? head->e_flags & 0xff : head->e_flags >> 8 & 0xff;
    if (built_for / 10 != card()->major || built_for % 10 > card()->minor)
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    size_t size = head->e_shoff + (size_t)head->e_shnum * head->e_shentsize;
    int count;
    const Elf64_Shdr *all = sections(image, &count);
    for (int i = 0; i < count; i++)
        if (all[i].sh_type != SHT_NOBITS && all[i].sh_offset + all[i].sh_size > size)
            size = all[i].sh_offset + all[i].sh_size;
    module_t *made = malloc(sizeof *made);
    made->image = malloc(size);
    memcpy(made->image, image, size);
    made->context = current;
    *module = (CUmodule)made;
    return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    module_t *of = (module_t *)module;
    const Elf64_Shdr *info = section(of->image, ".nv.info.", name);
    if (!info || !section(of->image, ".text.", name)) return CUDA_ERROR_NOT_FOUND;
    function_t *made = calloc(1, sizeof *made);
    snprintf(made->name, sizeof made->name, "%s", name);
    made->context = of->context;
    made->most_threads = THREADS;
    read_info(of->image, info, made);
    read_info(of->image, section(of->image, ".nv.info", ""), made);
    /* From Hopper on the section counts the kilobyte that the system keeps in each program. */
    const Elf64_Shdr *shared = section(of->image, ".nv.shared.", name);
    int kept = card()->major >= 9 ? 1024 : 0;
    made->shared = shared && (int)shared->sh_size > kept ? (int)shared->sh_size - kept : 0;
    made->dynamic_shared = UNASKED_SHARED - made->shared;
    *function = (CUfunction)made;
    FILE *log = opened_log();
    if (log) {
        fprintf(log, "{\"loaded\": \"%s\", \"gpu\": %d}\n", name, gpu_of(made->context));
        fclose(log);
    }
    return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute which, CUfunction function) {
    function_t *f = (function_t *)function;
    switch ((int)which) {
    case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = f->registers; break;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES: *value = f->frame; break;
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = f->most_threads; break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *value = f->shared; break;
    default: return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute which, int value) {
    function_t *f = (function_t *)function;
    if (which != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 ||
        f->shared + value > card()->shared)
        return CUDA_ERROR_INVALID_VALUE;
    f->dynamic_shared = value;
    return CUDA_SUCCESS;
}
CUresult cuFuncSetCacheConfig(CUfunction function, CUfunc_cache config) {
    (void)function; (void)config;
    return CUDA_SUCCESS;
}

/* ------------------------------------------------------------------------- launches */

static CUresult refusal(const CUlaunchConfig *c, const function_t *f) {
    uint64_t threads = (uint64_t)c->blockDimX * c->blockDimY * c->blockDimZ;
    int registers_of_a_warp = (32 * f->registers + 255) / 256 * 256;
    if (f->context != current) return CUDA_ERROR_INVALID_HANDLE;
    if (!c->gridDimX || !c->gridDimY || !c->gridDimZ || !threads) return CUDA_ERROR_INVALID_VALUE;
    if (c->gridDimX > INT32_MAX || c->gridDimY > 65535 || c->gridDimZ > 65535)
        return CUDA_ERROR_INVALID_VALUE;
    if (threads > (uint64_t)f->most_threads || c->blockDimZ > 64) return CUDA_ERROR_INVALID_VALUE;
    if (f->required_threads && threads != (uint64_t)f->required_threads)
        return CUDA_ERROR_INVALID_VALUE;
    if (c->sharedMemBytes > (unsigned)f->dynamic_shared) return CUDA_ERROR_INVALID_VALUE;
    if (threads / 32 * registers_of_a_warp > REGISTERS) return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction function, void **values, void **extra) {
    const function_t *f = (const function_t *)function;
    (void)extra;
    CUresult refused = refusal(c, f);
    FILE *log = opened_log();
    if (!log) return refused;
    fprintf(log, "{\"launched\": \"%s\", \"gpu\": %d, \"refused\": %d, \"grid\": [%u, %u, %u], ", f->name,
            gpu_of(f->context), refused, c->gridDimX, c->gridDimY, c->gridDimZ);
    fprintf(log, "\"threads\": %u, \"shared\": %u, \"registers\": %d, \"spilled\": %d, ",
            c->blockDimX * c->blockDimY * c->blockDimZ, c->sharedMemBytes + f->shared, f->registers,
            f->frame);
    fprintf(log, "\"attributes\": %u, \"stream\": %llu, \"values\": [", c->numAttrs,
            (unsigned long long)(uintptr_t)c->hStream);
    for (int i = 0; i < f->parameters; i++) { /* as the kernel finds them, their lowest byte last */
        fprintf(log, "%s\"", i ? ", " : "");
        for (int byte = f->size[i] - 1; byte >= 0; byte--)
            fprintf(log, "%02x", ((unsigned char *)values[i])[byte]);
        fprintf(log, "\"");
    }
    fprintf(log, "]}\n");
    fclose(log);
    return refused;
}

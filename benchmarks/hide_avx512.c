// Makes CPUID instructions at given addresses of this process deny AVX-512, VNNI and AMX.
//
// Each two-byte CPUID (0F A2) becomes INT3 + NOP (CC 90); the SIGTRAP handler executes the real
// CPUID, clears the features and steps over the site. hide_avx512.py finds the addresses. For
// benchmarks only: nothing but the reported features changes, so a library that was not patched,
// or that asked before, goes on using what the CPU really has.
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { kMaxSites = 4096, kSiteBytes = 2 };

static const uint8_t kCpuid[kSiteBytes] = {0x0F, 0xA2};
static const uint8_t kTrap[kSiteBytes] = {0xCC, 0x90};

static uintptr_t sites[kMaxSites];
static size_t site_count;
static volatile sig_atomic_t answered[kMaxSites];
static struct sigaction previous;

// The number of a site; kMaxSites if there is none at that address.
static size_t FindSite(uintptr_t address) {
  for (size_t i = 0; i < site_count; ++i) {
    if (sites[i] == address) return i;
  }
  return kMaxSites;
}

// Bit numbers: Intel's Software Developer's Manual, volume 2A, CPUID, leaf 07H.
static void Hide(uint32_t leaf, uint32_t subleaf, uint32_t* a, uint32_t* b, uint32_t* c,
                 uint32_t* d) {
  if (leaf != 7) return;
  if (subleaf == 0) {
    // AVX512 F, DQ, IFMA, PF, ER, CD, BW, VL.
    *b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31);
    // AVX512 VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ; GFNI.
    *c &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14 | 1u << 8);
    // AVX512 4VNNIW, 4FMAPS, VP2INTERSECT, FP16; AMX BF16, TILE, INT8.
    *d &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 23 | 1u << 22 | 1u << 24 | 1u << 25);
  } else if (subleaf == 1) {
    // AVX-VNNI, AVX512 BF16, AMX FP16, AVX-IFMA.
    *a &= ~(1u << 4 | 1u << 5 | 1u << 21 | 1u << 23);
    // AVX-VNNI-INT8, AVX-NE-CONVERT, AMX COMPLEX, AVX-VNNI-INT16, AVX10.
    *d &= ~(1u << 4 | 1u << 5 | 1u << 8 | 1u << 10 | 1u << 19);
  }
}

static void OnTrap(int signal_number, siginfo_t* info, void* context) {
  (void)info;
  greg_t* r = ((ucontext_t*)context)->uc_mcontext.gregs;
  const uintptr_t address = (uintptr_t)r[REG_RIP] - 1;  // RIP is behind the INT3
  const size_t site = FindSite(address);
  if (site == kMaxSites) {
    // A trap of somebody else's: give it back and let it happen again.
    sigaction(signal_number, &previous, NULL);
    raise(signal_number);
    return;
  }
  const uint32_t leaf = (uint32_t)r[REG_RAX], subleaf = (uint32_t)r[REG_RCX];
  uint32_t a, b, c, d;
  __cpuid_count(leaf, subleaf, a, b, c, d);
  Hide(leaf, subleaf, &a, &b, &c, &d);
  r[REG_RAX] = a;
  r[REG_RBX] = b;
  r[REG_RCX] = c;
  r[REG_RDX] = d;
  r[REG_RIP] = (greg_t)(address + kSiteBytes);
  ++answered[site];
}

// Patches `count` addresses. Returns 0, or the 1-based index of the first address that does not
// hold a CPUID (nothing is patched then), -1 when there are too many, -2 when the handler or the
// page protection can not be set.
int accq_hide_avx512(const uintptr_t* addresses, size_t count) {
  if (site_count + count > kMaxSites) return -1;
  for (size_t i = 0; i < count; ++i) {
    if (memcmp((const void*)addresses[i], kCpuid, kSiteBytes) != 0) return (int)(i + 1);
  }
  if (site_count == 0) {
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_sigaction = OnTrap;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    if (sigaction(SIGTRAP, &action, &previous) != 0) return -2;
  }
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  for (size_t i = 0; i < count; ++i) {
    // The site may straddle two pages.
    const uintptr_t first = addresses[i] & ~(page - 1);
    const size_t bytes = ((addresses[i] + kSiteBytes - 1) & ~(page - 1)) + page - first;
    if (mprotect((void*)first, bytes, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) return -2;
    sites[site_count++] = addresses[i];  // known to the handler before the trap exists
    memcpy((void*)addresses[i], kTrap, kSiteBytes);
    if (mprotect((void*)first, bytes, PROT_READ | PROT_EXEC) != 0) return -2;
  }
  return 0;
}

// How many CPUIDs the handler has answered at the first `count` sites.
int accq_hidden_answers(size_t count) {
  int sum = 0;
  for (size_t i = 0; i < count; ++i) sum += answered[i];
  return sum;
}

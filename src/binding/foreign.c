/* Foreign native code on a goroutine's stack: extension modules that are not the interpreter's own,
 * and the libraries they bring with them. (Not those of the system: who calls Python from there does so
 * under PyGILState_Ensure(), which is noticed, or is called by an extension module.)
 *
 * Such code may keep something of its OS thread over a call into Python, and nobody tells us:
 * libstdc++ has the exceptions that a thread is handling, pybind11 links the calls that are under way
 * there, PyO3 counts them, and compilers keep the address of a thread-local variable in a register.
 * So a goroutine that waits below it is pinned, as goroutines are in Go's cgo callbacks and virtual
 * threads below Java's native frames.
 *
 * Every call that has not returned left its return address on the stack. All words there are looked
 * at: if none is an address in foreign code, there is no such call. One that is may be left over from
 * a call that has returned, in a slot that nobody has written since; so then, and only then, the stack
 * is unwound for certainty, which takes a microsecond.
 *
 * Everything here is guarded by the GIL. */
#include "binding.h"

#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>

struct text {
    uintptr_t lo, hi;
};

/* The executable segments of what is loaded. */
struct texts {
    struct text own;      /* ours */
    struct text *foreign; /* sorted */
    size_t n, room;
    unsigned long long adds; /* how many objects had ever been loaded */
    bool no_memory;
};

static struct texts texts;

/* A bit for each 64 KiB of address space, modulo 256 MiB: most words are told apart by it alone. */
#define PAGE_SHIFT 16
#define PAGE_BITS 4096
static uint64_t pages[PAGE_BITS / 64];

/* ---- which code is foreign ---- */

static bool contains(const struct dl_phdr_info *object, uintptr_t address) {
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t lo = object->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && address - lo < segment->p_memsz)
            return true;
    }
    return false;
}

static bool is_ours(const struct dl_phdr_info *object) {
    return contains(object, (uintptr_t)foreign_look);
}

/* The interpreter and its standard library. */
static bool is_pythons(const struct dl_phdr_info *object) {
    return contains(object, (uintptr_t)PyObject_Vectorcall) ||
           strstr(object->dlpi_name, "/lib-dynload/");
}

/* Where the C library lies, as the linker names it. */
static char c_library[256];

static int find_c_library(struct dl_phdr_info *object, size_t size, void *arg) {
    const char *slash = strrchr(object->dlpi_name, '/');
    bool found = slash && (strncmp(slash, "/libc.", 6) == 0 || strncmp(slash, "/ld-musl", 8) == 0);
    if (found)
        strncpy(c_library, object->dlpi_name, sizeof c_library - 1);
    return found;
}

/* The length of the path before the last slash, without /usr, which many systems have merged. */
static size_t folder(const char **name) {
    if (strncmp(*name, "/usr/", 5) == 0)
        *name += 4;
    const char *slash = strrchr(*name, '/');
    return slash ? (size_t)(slash - *name) : 0;
}

/* What lies beside the C library; what has no path, as the program and the kernel's; the loader, which may
 * lie elsewhere (/lib64); and what valgrind puts into each program that it runs. Other names tell nothing:
 * an extension module may be called libsomething.so, but none has a dash. */
static bool is_systems(const char *name) {
    const char *of_c = c_library;
    size_t length = folder(&name);
    return !length || strncmp(name + length, "/ld-", 4) == 0 || strstr(name, "/vgpreload_") ||
           (length == folder(&of_c) && strncmp(name, of_c, length) == 0);
}

static void add_foreign(struct texts *to, struct text t) {
    if (to->n == to->room) {
        size_t room = to->room ? 2 * to->room : 64;
        struct text *more = realloc(to->foreign, room * sizeof *more);
        if (!more) {
            to->no_memory = true;
            return;
        }
        to->foreign = more;
        to->room = room;
    }
    to->foreign[to->n++] = t;
}

static int visit(struct dl_phdr_info *object, size_t size, void *arg) {
    struct texts *to = arg;
    if (object->dlpi_adds == texts.adds)
        return 1;
    to->adds = object->dlpi_adds;
    bool ours = is_ours(object);
    if (!ours && (is_pythons(object) || is_systems(object->dlpi_name)))
        return 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t lo = object->dlpi_addr + segment->p_vaddr;
        struct text t = {lo, lo + segment->p_memsz};
        if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X) || t.lo == t.hi)
            continue;
        if (ours)
            to->own = t;
        else
            add_foreign(to, t);
    }
    return 0;
}

static int by_address(const void *a, const void *b) {
    const struct text *x = a, *y = b;
    return (x->lo > y->lo) - (x->lo < y->lo);
}

static void mark_pages(void) {
    memset(pages, 0, sizeof pages);
    for (size_t i = 0; i < texts.n; i++) {
        struct text t = texts.foreign[i];
        for (uintptr_t page = t.lo >> PAGE_SHIFT; page <= (t.hi - 1) >> PAGE_SHIFT; page++)
            pages[page % PAGE_BITS / 64] |= UINT64_C(1) << page % 64;
    }
}

void foreign_look(void) {
    struct texts now = {0};
    if (!c_library[0])
        dl_iterate_phdr(find_c_library, NULL);
    if (dl_iterate_phdr(visit, &now) || now.no_memory) {
        free(now.foreign); /* nothing new; or the next look may succeed */
        return;
    }
    qsort(now.foreign, now.n, sizeof *now.foreign, by_address);
    free(texts.foreign);
    texts = now;
    mark_pages();
}

static bool is_foreign(uintptr_t address) {
    uintptr_t page = address >> PAGE_SHIFT;
    if (!(pages[page % PAGE_BITS / 64] >> page % 64 & 1))
        return false;
    size_t lo = 0, hi = texts.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (texts.foreign[mid].hi <= address)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < texts.n && address >= texts.foreign[lo].lo;
}

/* ---- what is on a stack ---- */

#if defined(__aarch64__) /* which may sign return addresses in bits that no address has */
#define ADDRESS_BITS ((UINT64_C(1) << 48) - 1)
#else
#define ADDRESS_BITS UINT64_MAX
#endif

/* Reads what no variable of the C program has: sanitizers must not mind. */
__attribute__((no_sanitize("address"))) static bool mentions_foreign(const uintptr_t *from,
                                                                     const uintptr_t *to) {
    for (const uintptr_t *word = from; word < to; word++)
        if (is_foreign(*word & ADDRESS_BITS))
            return true;
    return false;
}

struct unwound {
    bool foreign;
    uintptr_t last;
};

static _Unwind_Reason_Code frame(struct _Unwind_Context *context, void *arg) {
    struct unwound *u = arg;
    uintptr_t ip = _Unwind_GetIP(context);
    if (!ip)
        return _URC_NO_REASON; /* beyond a first frame, libgcc says so once */
    u->last = ip;
    u->foreign = is_foreign(ip - 1);
    return u->foreign ? _URC_END_OF_STACK : _URC_NO_REASON;
}

/* A goroutine's first frame is ours: whoever does not get there has met code that cannot be unwound,
 * which may be anything. */
static bool calls_foreign(void) {
    struct unwound u = {0};
    _Unwind_Backtrace(frame, &u);
    return u.foreign || u.last - texts.own.lo >= texts.own.hi - texts.own.lo;
}

/* The unwinder takes a few KiB. */
#define UNWINDER_ROOM (16 << 10)

bool foreign_on_stack(struct g *g) {
    if (!texts.n)
        return false;
    const char *here = __builtin_frame_address(0);
    if (here < g->stack.lo || here >= (char *)goroutine_of(g))
        return true; /* it has been put on another stack, and not by us */
    if (!mentions_foreign((const uintptr_t *)here, (const uintptr_t *)goroutine_of(g)))
        return false;
    return here - g->stack.lo < UNWINDER_ROOM || calls_foreign();
}

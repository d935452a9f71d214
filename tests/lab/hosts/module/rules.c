// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rules of a time-sliced A100 PCIe 40GB with SR-IOV: a function carries one vGPU, all vGPUs of a GPU have one size,
 * and a GPU takes no more of a size than fit into its memory.
 */
#include <linux/module.h>
#include "vgpu.h"

const struct vgpu_type vgpu_types[VGPU_TYPES] = {
	{ 468, "468", "GRID A100-4C", "NVIDIA A100-4C", 4096 },
	{ 469, "469", "GRID A100-5C", "NVIDIA A100-5C", 5120 },
	{ 470, "470", "GRID A100-8C", "NVIDIA A100-8C", 8192 },
	{ 471, "471", "GRID A100-10C", "NVIDIA A100-10C", 10240 },
	{ 472, "472", "GRID A100-20C", "NVIDIA A100-20C", 20480 },
	{ 473, "473", "GRID A100-40C", "NVIDIA A100-40C", 40960 },
};
EXPORT_SYMBOL_GPL(vgpu_types);

unsigned int vgpu_maximum[VGPU_TYPES] = { 10, 8, 5, 4, 2, 1 };
EXPORT_SYMBOL_GPL(vgpu_maximum);
module_param_array_named(max_instances, vgpu_maximum, uint, NULL, 0444);
MODULE_PARM_DESC(max_instances, "How many of each type one GPU takes, in the order of the types");

DEFINE_MUTEX(vgpu_lock);
LIST_HEAD(vgpu_gpus);

/* The index of the type with that number, or VGPU_NONE. */
int vgpu_index_of(unsigned int number)
{
	int index;

	for (index = 0; index < VGPU_TYPES; index++)
		if (vgpu_types[index].number == number)
			return index;
	return VGPU_NONE;
}

static unsigned int available(struct vgpu_function *function, int type)
{
	struct vgpu_gpu *gpu = function->gpu;

	lockdep_assert_held(&vgpu_lock);
	if (function->type != VGPU_NONE)
		return 0;
	if (gpu->count && gpu->type != type)
		return 0;
	return gpu->count < vgpu_maximum[type];
}

/* How many vGPUs of a type can be made on a function now: 0 or 1. */
unsigned int vgpu_available(struct vgpu_function *function, int type)
{
	unsigned int count;

	mutex_lock(&vgpu_lock);
	count = available(function, type);
	mutex_unlock(&vgpu_lock);
	return count;
}
EXPORT_SYMBOL_GPL(vgpu_available);

/*
 * Make a vGPU of a type on a function. -EBUSY: the function carries one, or the GPU runs another size. -ENOSPC: the GPU
 * is full.
 */
int vgpu_claim(struct vgpu_function *function, int type)
{
	struct vgpu_gpu *gpu = function->gpu;
	int error = 0;

	mutex_lock(&vgpu_lock);
	if (function->type != VGPU_NONE || (gpu->count && gpu->type != type)) {
		error = -EBUSY;
	} else if (!available(function, type)) {
		error = -ENOSPC;
	} else {
		function->type = type;
		gpu->type = type;
		gpu->count++;
	}
	mutex_unlock(&vgpu_lock);
	return error;
}
EXPORT_SYMBOL_GPL(vgpu_claim);

/* Take the vGPU of a function away; -EBUSY while a virtual machine has it open. */
int vgpu_release(struct vgpu_function *function)
{
	int error = 0;

	mutex_lock(&vgpu_lock);
	if (function->open) {
		error = -EBUSY;
	} else if (function->type != VGPU_NONE) {
		function->type = VGPU_NONE;
		if (!--function->gpu->count)
			function->gpu->type = VGPU_NONE;
	}
	mutex_unlock(&vgpu_lock);
	return error;
}
EXPORT_SYMBOL_GPL(vgpu_release);

/* A virtual machine opens the vGPU; -ENODEV when there is none on the function. */
int vgpu_opened(struct vgpu_function *function)
{
	int error = 0;

	mutex_lock(&vgpu_lock);
	if (function->type == VGPU_NONE)
		error = -ENODEV;
	else
		function->open = true;
	mutex_unlock(&vgpu_lock);
	return error;
}

void vgpu_closed(struct vgpu_function *function)
{
	mutex_lock(&vgpu_lock);
	function->open = false;
	mutex_unlock(&vgpu_lock);
}

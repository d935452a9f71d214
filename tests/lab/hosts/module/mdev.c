// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module nvidia-vgpu-vfio: every virtual function is a parent of mediated devices, one at most. It is a module of
 * its own, so that a host without it has no mdev bus at all.
 */
#include <linux/delay.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "vgpu.h"

struct parent {
	struct mdev_parent parent;
	struct offer {
		struct mdev_type type;
		struct vgpu_function *function;
		int index;
	} offers[VGPU_TYPES];
	struct mdev_type *types[VGPU_TYPES];
};

static struct offer *offer_of(struct mdev_type *type)
{
	return container_of(type, struct offer, type);
}

static unsigned int get_available(struct mdev_type *type)
{
	struct offer *offer = offer_of(type);

	return vgpu_available(offer->function, offer->index);
}

static ssize_t show_description(struct mdev_type *type, char *text)
{
	int index = offer_of(type)->index;

	return sysfs_emit(text,
			  "num_heads=1, frl_config=60, framebuffer=%uM, max_resolution=4096x2160, max_instance=%u\n",
			  vgpu_types[index].framebuffer_mib, vgpu_maximum[index]);
}

/* Whatever rule speaks against it, the answer is that there is no instance left. */
static int probe(struct mdev_device *mdev)
{
	struct offer *offer = offer_of(mdev->type);
	struct vgpu_vfio *vgpu;

	if (vgpu_create_delay_ms)
		msleep(vgpu_create_delay_ms);
	if (vgpu_claim(offer->function, offer->index))
		return -ENOSPC;
	vgpu = vgpu_vfio_add(&mdev->dev, offer->function);
	if (IS_ERR(vgpu)) {
		vgpu_release(offer->function);
		return PTR_ERR(vgpu);
	}
	dev_set_drvdata(&mdev->dev, vgpu);
	return 0;
}

/* The kernel waits here until no virtual machine has the device open. */
static void remove(struct mdev_device *mdev)
{
	vgpu_vfio_remove(dev_get_drvdata(&mdev->dev));
	vgpu_release(offer_of(mdev->type)->function);
}

static struct mdev_driver driver = {
	.device_api = VFIO_DEVICE_API_PCI_STRING,
	.driver = {
		.name = "nvidia-vgpu-vfio",
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
	},
	.probe = probe,
	.remove = remove,
	.get_available = get_available,
	.show_description = show_description,
};

static int add_parent(struct vgpu_function *function)
{
	struct parent *parent;
	int index, error;

	parent = kzalloc(sizeof(*parent), GFP_KERNEL);
	if (!parent)
		return -ENOMEM;
	for (index = 0; index < VGPU_TYPES; index++) {
		struct offer *offer = &parent->offers[index];

		offer->type.sysfs_name = vgpu_types[index].sysfs_name;
		offer->type.pretty_name = vgpu_types[index].mdev_name;
		offer->function = function;
		offer->index = index;
		parent->types[index] = &offer->type;
	}
	error = mdev_register_parent(&parent->parent, &function->pdev->dev, &driver, parent->types, VGPU_TYPES);
	if (error) {
		kfree(parent);
		return error;
	}
	function->framework = parent;
	return 0;
}

static void remove_parent(struct vgpu_function *function)
{
	struct parent *parent = function->framework;

	mdev_unregister_parent(&parent->parent);
	kfree(parent);
}

static const struct vgpu_framework mediated = { .add = add_parent, .remove = remove_parent };

static int __init start(void)
{
	int error;

	if (vgpu_vendor_framework())
		return -ENODEV;
	error = mdev_register_driver(&driver);
	if (error)
		return error;
	error = vgpu_framework_register(&mediated);
	if (error)
		mdev_unregister_driver(&driver);
	return error;
}

static void __exit stop(void)
{
	vgpu_framework_unregister();
	mdev_unregister_driver(&driver);
}

module_init(start);
module_exit(stop);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Mediated devices on the virtual functions of the lab's GPUs");
MODULE_VERSION(VGPU_DRIVER_VERSION);

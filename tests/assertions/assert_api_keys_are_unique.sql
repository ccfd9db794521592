-- Each entity and key of the App API has one row. A failure means that rows were changed outside `copymart extract`:
-- delete those of the key and extract the entity again. Not a test of the source, whose table a warehouse may lack.
{{ config(severity='error', enabled=var('test_scope') == 'all') }}

with

landed as (

    select * from {{ landed_or_empty('customerio_api', 'customerio_api') }}

),

final as (

    select
        entity,
        key,
        count(*) as row_count
    from landed
    group by entity, key
    having count(*) > 1

)

select * from final
